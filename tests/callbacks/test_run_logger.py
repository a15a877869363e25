"""Run folders and the hparams tab."""

from pathlib import Path
from typing import Any

import pytest
from tensorboard.plugins.hparams import metadata

from skipvae.callbacks.run_logger import RunLogger, flatten
from tests.callbacks.tiny import make_loader, make_model, make_trainer, read_events


def hparams(events: Any) -> dict[str, Any]:
    """The settings that TensorBoard reads from a run, and the group that it puts it into."""
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    info = metadata.parse_session_start_info_plugin_data(content)
    found = {name: getattr(value, value.WhichOneof("kind")) for name, value in info.hparams.items()}
    return found | {"group": info.group_name}


def test_a_run_made_in_python_shows_its_model(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit(make_model(skip=True), make_loader(), make_loader())
    found = read_events(tmp_path / "run/version_0")
    shown = hparams(found)
    assert shown["model"] == "VAE"
    assert shown["model.decoder"] == "MLPDecoder"
    assert shown["model.decoder.skip"] is True
    assert shown["model.decoder.hidden_dim"] == 8
    assert shown["group"] == "run/version_0"
    assert {"val/elbo", "val/kl", "val/mi", "val/au", "train/loss", "train/beta"} <= set(found.Tags()["scalars"])
    assert not {"hp_metric", "epoch"} & set(found.Tags()["scalars"])


def test_no_run_fixes_the_columns_for_all_others(tmp_path: Path) -> None:
    # TensorBoard takes the list of columns from the first run that has one, and hides what others have besides.
    make_trainer(tmp_path).fit(make_model(), make_loader())
    found = read_events(tmp_path / "run/version_0")
    with pytest.raises(KeyError):
        found.SummaryMetadata(metadata.EXPERIMENT_TAG)


def test_settings_given_before_the_run_win(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path, name="run")
    logger.log_hyperparams({"seed_everything": 7, "model": {"free_bits": None}})
    make_trainer(tmp_path, logger=logger).fit(make_model(), make_loader())
    assert hparams(read_events(tmp_path / "run/version_0")) == {"seed_everything": 7.0, "group": "run/version_0"}


def test_a_later_test_in_the_same_folder_leaves_the_settings_alone(tmp_path: Path) -> None:
    make_trainer(tmp_path, logger=RunLogger(tmp_path, name="run", version=0)).fit(make_model(), make_loader())
    later = make_trainer(tmp_path, logger=RunLogger(tmp_path, name="run", version=0))
    later.test(make_model(skip=True), make_loader(), verbose=False)
    found = read_events(tmp_path / "run/version_0")
    assert "model.decoder.skip" not in hparams(found) or not hparams(found)["model.decoder.skip"]
    assert "test/nll" in found.Tags()["scalars"]


def test_the_same_settings_twice_are_two_runs(tmp_path: Path) -> None:
    for _ in range(2):
        make_trainer(tmp_path).fit(make_model(), make_loader())
    groups = [hparams(read_events(tmp_path / f"run/version_{version}"))["group"] for version in range(2)]
    assert groups == ["run/version_0", "run/version_1"]


def test_folder_without_a_name(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path)
    trainer = make_trainer(tmp_path, logger=logger)
    assert Path(trainer.log_dir) == tmp_path / "version_0"
    trainer.fit(make_model(), make_loader())
    assert (tmp_path / "version_0/hparams.yaml").is_file()


def test_flatten_lists_of_classes() -> None:
    config = {
        "trainer": {
            "callbacks": [{"class_path": "a.b.Warmup", "init_args": {"epochs": 3}}, {"class_path": "c.Other"}],
            "devices": [0, 1],
        }
    }
    assert flatten(config) == {
        "trainer.callbacks.0": "Warmup",
        "trainer.callbacks.0.epochs": 3,
        "trainer.callbacks.1": "Other",
        "trainer.devices": "[0, 1]",
    }
