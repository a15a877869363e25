"""Digests tell changes that matter from those that do not."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from datamodules import MNISTDigitsDataModule
from skipvae.study import provenance
from skipvae.study.provenance import code_digests, data_digest, environment


@pytest.fixture(autouse=True)
def _fresh() -> None:
    provenance._package_digest.cache_clear()


def digest_of(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "mymodels.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("mymodels", None)
    provenance._package_digest.cache_clear()
    return code_digests([{"model": {"class_path": "mymodels.Mine"}}])["mymodels"]


def test_statements_count_and_comments_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(source: str) -> str:
        return digest_of(source, tmp_path, monkeypatch)

    first = digest('"""Doc."""\ndef f(x):\n    """Doc."""\n    return x\n')
    assert digest("def f( x ):\n    # why\n    return x\n") == first
    assert digest("def f(x):\n    return -x\n") != first


def test_a_definition_that_moves_to_another_file_keeps_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)  # type: ignore[no-untyped-call]

    def digest(package: str, **files: str) -> str:
        (tmp_path / package).mkdir()
        for name, source in files.items():
            (tmp_path / package / f"{name}.py").write_text(source.replace("PACKAGE", package), encoding="utf-8")
        return code_digests({"class_path": f"{package}.Mine"})[package]

    model, layer = "class Mine:\n    layer = Layer\n", "class Layer:\n    size = 3\n"
    together = digest("before", __init__="import math\n" + layer + model)
    apart = digest("after", __init__="import math\nfrom PACKAGE.nn import Layer\n" + model, nn=layer)
    assert apart == together
    relative = digest("later", __init__="import math\nfrom . import nn\nfrom .nn import Layer\n" + model, nn=layer)
    assert relative == together
    assert (
        digest("other", __init__="import math\nfrom .nn import Layer\n" + model, nn=layer + "    width = 4\n") != apart
    )
    assert digest("third", __init__="import numpy as math\n" + layer + model) != together  # of another library


def test_packages_are_those_of_the_classes_in_the_config() -> None:
    config = {
        "model": {
            "class_path": "skipvae.VAE",
            "init_args": {"optimizer": {"class_path": "torch.optim.Adam"}, "parts": [{"class_path": "datamodules.X"}]},
        }
    }
    assert list(code_digests(config)) == ["datamodules", "skipvae"]
    assert code_digests({"model": {"class_path": "no_such_package.X"}})["no_such_package"] == "unknown"


def test_the_data_digest_is_that_of_all_splits() -> None:
    def digest(**settings: object) -> str:
        data = MNISTDigitsDataModule(**settings)
        data.setup("test")
        return data_digest(data)

    assert digest(seed=3) == digest(eval_batch_size=70)
    assert digest(train_size=10) != digest()
    assert digest(binarize="none") != digest()


def test_the_data_digest_of_a_module_without_splits_is_that_of_its_test_batches() -> None:
    def digest(*rows: int) -> str:
        batches = [[torch.tensor([row]), torch.tensor([0])] for row in rows]
        return data_digest(SimpleNamespace(test_dataloader=lambda: batches))  # type: ignore[arg-type]

    assert digest(1, 2) == digest(1, 2)
    assert len({digest(1, 2), digest(2, 1), digest(1)}) == 3


def test_the_environment_is_named() -> None:
    found = environment()
    assert set(found) == {"skipvae", "commit", "python", "torch", "hardware"}
    assert found["torch"]
