"""Run folders and the hparams tab."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata

from skipvae.callbacks.run_logger import RunLogger, flatten
from skipvae.persistence.strict_yaml import load_text
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


def test_the_result_of_a_test_is_a_line_to_compare_curves_with(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path, name="run")
    logger.log_metrics({"test/elbo": -90.0, "test/nll": 85.0, "test/ari": 0.5, "epoch": 3}, step=40)
    logger.log_metrics({"val/elbo": -91.0, "val/kl": 3.0, "train/kl": 2.0}, step=20)
    logger.finalize("success")
    found = read_events(tmp_path / "run/version_0")
    series = {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert series == {
        "test/elbo": [(0, -90.0), (40, -90.0)],
        "test/nll": [(0, 85.0), (40, 85.0)],
        "test/ari": [(0, 0.5), (40, 0.5)],
        "headline/test/nll": [(0, 85.0), (40, 85.0)],
        "val/elbo": [(20, -91.0)],
        "val/kl": [(20, 3.0)],
        "headline/val/elbo": [(20, -91.0)],
        "headline/val/kl": [(20, 3.0)],
        "train/kl": [(20, 2.0)],
    }
    assert sorted(series)[0].startswith("headline/")  # TensorBoard's order


def text(events: Any, tag: str) -> str:
    (event,) = events.Tensors(f"{tag}/text_summary")
    return event.tensor_proto.string_val[0].decode()


def test_the_text_page_shows_the_settings_and_the_command(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path, name="run")
    settings = {"model": {"init_args": {"skip": True, "init": None, "shape": (1, 2), "type": torch.float32}}}
    logger.log_hyperparams(settings)
    logger.log_command(["skipvae", "fit", "--config", "a b.yaml", "--trainer.max_epochs=1"], step=0)
    logger.finalize("success")
    found = read_events(tmp_path / "run/version_0")
    shown = load_text(text(found, "run/config").strip("~\n"))
    assert shown["model"]["init_args"] == {"skip": True, "init": None, "shape": [1, 2], "type": "torch.float32"}
    command = text(found, "run/command").strip("~\n")
    assert shlex.split(command.replace("\\\n", " ")) == [
        "skipvae",
        "fit",
        "--config",
        "a b.yaml",
        "--trainer.max_epochs=1",
    ]
    assert len(command.splitlines()) == 3


def test_training_validation_and_test_share_charts(tmp_path: Path) -> None:
    make_trainer(tmp_path).fit(make_model(), make_loader(), make_loader())
    found = read_events(tmp_path / "run/version_0")
    layout = layout_pb2.Layout.FromString(found.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {chart.title: chart.multiline.tag[0] for chart in layout.category[0].chart}
    logged = found.Tags()["scalars"]
    matches = {title: {tag for tag in logged if re.match(pattern, tag)} for title, pattern in charts.items()}
    assert matches == {
        title: {f"train/{key}", f"val/{key}"}
        for title, key in (("ELBO", "elbo"), ("reconstruction", "reconstruction"), ("KL", "kl"))
    }


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
