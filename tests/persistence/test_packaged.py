"""Configs are found outside a clone, and a file of one's own comes first."""

from pathlib import Path

import pytest

from skipvae.cli import config_files
from skipvae.persistence.packaged import own_or_packaged
from skipvae.study import read_study
from tests.command_line import ROOT


@pytest.mark.parametrize("name", ["configs/mnist/mlp_small.yaml", "mnist/mlp_small.yaml"])
def test_a_config_of_the_package_is_read_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert own_or_packaged(Path(name)) == ROOT / "configs" / "mnist" / "mlp_small.yaml"
    args = config_files.with_one_config(["fit", "--config", name])
    assert "mnist-mlp" in args[1]
    assert read_study("configs/quickstart/images.yaml").name == "quickstart"


def test_a_file_of_ones_own_comes_first_and_a_missing_one_is_named_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mnist").mkdir()
    Path("mnist/mlp_small.yaml").write_text("name: mine\n", encoding="utf-8")
    assert own_or_packaged(Path("mnist/mlp_small.yaml")) == Path("mnist/mlp_small.yaml")
    with pytest.raises(FileNotFoundError, match=r"there is no config mnist/mlp_smal\.yaml"):
        config_files.with_one_config(["fit", "--config", "mnist/mlp_smal.yaml"])
