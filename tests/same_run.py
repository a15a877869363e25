"""Comparison of two runs by their checkpoints, bit by bit."""

from pathlib import Path
from typing import Any

import torch


def load(path: Path | str) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Bitwise equality of nested states, with the place of the first difference."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}/{index}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def assert_same_run(a: Path, b: Path) -> None:
    """The same weights, the same state of the optimiser, and the same place in the data."""
    first, second = load(a), load(b)
    assert first["global_step"] == second["global_step"]
    assert first["epoch"] == second["epoch"]
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(first[part], second[part], part)
    assert_same(first["loops"]["fit_loop"]["state_dict"], second["loops"]["fit_loop"]["state_dict"])
    assert_same(first["skipvae"], second["skipvae"], "skipvae")
