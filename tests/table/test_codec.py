"""Rows of x come back in the units of their table, and other columns than those of a run are refused."""

import json
from typing import Any

import pytest
import torch

from skipvae import VAE
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder
from skipvae.table.codec import TableCodec, check_same_columns


def columns(**changes: Any) -> str:
    return json.dumps({"names": ["a", "b"], "mean": [1.0, 2000.0], "scale": [0.5, 3.0]} | changes)


def test_x_in_units_and_without_columns_x_itself() -> None:
    codec = TableCodec(columns())
    assert codec.decode(torch.tensor([[[2.0, -1.0]]])).tolist() == [[[2.0, 1997.0]]]
    exact = TableCodec(columns(mean=[1e9 + 0.5, 0.0]))
    assert exact.decode(torch.zeros(1, 2)).tolist() == [[1e9 + 0.5, 0.0]]  # float32 would have 1e9
    model = VAE(MLPEncoder(1, (2,), hidden_dim=4), MLPDecoder(1, (2,), hidden_dim=4))
    plain = TableCodec.of(model)
    assert plain.names == ["x_0", "x_1"]
    assert plain.decode(torch.tensor([[2.0, -1.0]])).tolist() == [[2.0, -1.0]]
    model.codecs["columns"] = columns(names=["a"], mean=[1.0], scale=[1.0])
    with pytest.raises(ValueError, match="1 columns do not fit a model of 2"):
        TableCodec.of(model)


@pytest.mark.parametrize(
    "broken",
    [
        "nothing",
        "[]",
        "3",
        '{"names": 3}',
        columns(mean=[1.0]),
        columns(scale=[0.0, 1.0]),
        columns(mean=[1.0, float("nan")]),
        columns(mean=["x", "y"]),
    ],
)
def test_damaged_columns_are_refused(broken: str) -> None:
    with pytest.raises(ValueError, match="the checkpoint is damaged"):
        TableCodec(broken)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (columns(names=["a", "c"]), "2 columns there and 2 here, 'b', 'c' in one of them alone"),
        (columns(names=["b", "a"]), "in another order"),
        (columns(mean=[1.0, 2000.1]), "'b' is 2000 ± 3 there and 2000.1 ± 3 here"),
        (columns(scale=[0.5, 3.1]), "'b' is 2000 ± 3 there and 2000 ± 3.1 here"),
    ],
)
def test_other_columns_are_refused(other: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        check_same_columns(columns(), other, "a.ckpt")
    assert "a.ckpt was trained with other columns" in str(caught.value)
    assert "data.columns_file" in str(caught.value)
    check_same_columns(columns(), columns(mean=[1.0, 2000.0 * (1 + 1e-13)]), "a.ckpt")  # another summation
