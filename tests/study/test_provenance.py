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
