import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamodules import MNISTDigitsDataModule
from skipvae.errors import USER_ERRORS
from skipvae.persistence.saved_runs import data_of, folder_of, newest_checkpoint


def make_run(name: str, version: int, age: int, *checkpoints: str) -> Path:
    """A run folder whose files were written `age` seconds before an arbitrary now."""
    folder = Path("lightning_logs", name, f"version_{version}")
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").touch()
    for checkpoint in checkpoints:
        path = folder / "checkpoints" / f"{checkpoint}.ckpt"
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    return folder


def test_the_newest_run_is_the_one_written_last(workspace: Path) -> None:
    make_run("a", 0, 30, "best", "last")
    newer = make_run("a", 1, 20, "best", "last")
    newest = make_run("b", 0, 10, "best", "last")
    make_run("b", 1, 0)  # has no checkpoint yet
    assert newest_checkpoint() == newest / "checkpoints/last.ckpt"
    assert newest_checkpoint(kind="best") == newest / "checkpoints/best.ckpt"
    assert newest_checkpoint(name="a") == newer / "checkpoints/last.ckpt"


def test_another_run_does_not_stand_in_for_the_newest(workspace: Path) -> None:
    make_run("a", 0, 30, "best", "last")
    make_run("a", 1, 20, "last")
    with pytest.raises(FileNotFoundError, match=r"the newest run, lightning_logs/a/version_1, has no best checkpoint"):
        newest_checkpoint(kind="best")


def test_runs_may_lie_deeper(workspace: Path) -> None:
    run = make_run("study/models", 3, 0, "last")
    assert newest_checkpoint() == run / "checkpoints/last.ckpt"
    assert newest_checkpoint("lightning_logs/study") == run / "checkpoints/last.ckpt"


@pytest.mark.parametrize("name", [None, "a", "never"])
def test_where_there_is_no_checkpoint_it_says_what_to_do(workspace: Path, name: str | None) -> None:
    make_run("a", 0, 0)
    with pytest.raises(FileNotFoundError, match=r"no best checkpoint under lightning_logs.*train first"):
        newest_checkpoint(name=name, kind="best")


def test_the_folder_of_a_checkpoint(workspace: Path) -> None:
    run = make_run("a", 0, 0, "last")
    assert folder_of(run / "checkpoints/last.ckpt") == run.resolve()
    assert folder_of(run / "copied.ckpt") == run.resolve()
    assert folder_of("loose.ckpt") is None
    assert folder_of(run / "checkpoints/epoch=0-val/elbo=-80.ckpt") == run.resolve()
    assert folder_of(run / "old/last.ckpt") is None


def test_the_data_of_a_run_is_built_as_it_was(tiny_run: Path) -> None:
    data = data_of(tiny_run / "checkpoints/last.ckpt")
    assert type(data) is MNISTDigitsDataModule
    assert (data.batch_size, data.train_size, data.binarize) == (50, 200, "dynamic")


def test_a_checkpoint_without_a_run_has_no_data(workspace: Path) -> None:
    with pytest.raises(ValueError, match=r"no config\.yaml beside loose\.ckpt: say which --data"):
        data_of("loose.ckpt")


@pytest.mark.parametrize("config", [{}, {"data": None}, None, {"data": {"class_path": "nowhere.Data"}}])
def test_a_config_without_data_that_can_be_built_is_an_error(workspace: Path, config: dict[str, Any] | None) -> None:
    run = make_run("a", 0, 0, "last")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(USER_ERRORS, match="data"):
        data_of(run / "checkpoints/last.ckpt")
