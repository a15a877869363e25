"""Loggers of every kind: each gets settings, metrics and, where it can, pictures and texts; the run is the same."""

import csv
import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from skipvae.cli import loggers, run
from skipvae.errors import user_message
from tests.callbacks.tiny import read_events
from tests.cli.test_text_output import SMALL, write_corpus
from tests.cli.wandb_files import read_run
from tests.command_line import QUIET, RUN, TINY, error_of

pytestmark = pytest.mark.slow
PICTURES = {"images/reconstructions", "images/samples", "images/traversals", "latents/dimensions", "test/dimensions"}
TEXTS = {"text/samples", "text/reconstructions", "text/interpolations"}


def needs(package: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"needs pip install 'skipvae[{package}]'")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}.items():
        monkeypatch.setenv(name, value)


def of_tensorboard(folder: Path) -> dict[str, Any]:
    events = read_events(folder)
    tags = events.Tags()
    return {
        "settings": yaml.safe_load((folder / "hparams.yaml").read_text()),
        "metrics": {tag: events.Scalars(tag)[-1].value for tag in tags["scalars"]},
        "pictures": set(tags["images"]),
        "texts": {tag.removesuffix("/text_summary") for tag in tags["tensors"]},
    }


def of_csv(folder: Path) -> dict[str, Any]:
    files = sorted(folder.glob("csv/version_*/metrics.csv"))
    assert len(files) in (1, 3), "each command has its own, since Lightning replaces the one it finds"
    rows = [row for file in files for row in csv.DictReader(file.open())]
    return {
        "settings": yaml.safe_load((folder / "csv/version_0/hparams.yaml").read_text()),
        "metrics": {name: float(value) for row in rows for name, value in row.items() if value},
        "pictures": set(),
        "texts": set(),
    }


def of_wandb(folder: Path) -> dict[str, Any]:
    found = read_run(folder)
    assert len(found["ids"]) == 1, "all commands belong to one run"
    kinds = {name: value for name, value in found["logged"].items() if name.endswith("._type")}
    files = {"/".join(path.parts[-2:]).partition("_")[0] for path in folder.glob("wandb/*/files/media/images/*/*.png")}
    pictures = {name.removesuffix("._type") for name, kind in kinds.items() if kind.startswith("images")}
    assert {name.partition("_")[0] for name in pictures} == files
    return {
        "settings": found["settings"],
        "metrics": found["logged"],
        "pictures": pictures,
        "texts": {name.removesuffix("._type") for name, kind in kinds.items() if kind.startswith("table")},
    }


def of_mlflow(folder: Path, uri: str = "sqlite:///lightning_logs/mlflow.db") -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string=f"name = '{folder.parent.name}'")
    (found,) = client.search_runs([experiment.experiment_id])  # all commands belong to one run
    assert found.info.run_name == folder.name
    paths = [Path(file.path) for file in client.list_artifacts(found.info.run_id, "images")]
    assert any(file.path == "config.yaml" for file in client.list_artifacts(found.info.run_id))
    texts = {
        file.path
        for kind in ("text", "test")
        for file in client.list_artifacts(found.info.run_id, kind)
        if client.list_artifacts(found.info.run_id, file.path)[0].path.endswith(".md")
    }
    pictures = {path.name.partition("+")[0].replace("~", "/") for path in paths if path.suffix == ".png"}
    return {"settings": found.data.params, "metrics": found.data.metrics, "pictures": pictures, "texts": texts}


Reader = Callable[[Path], dict[str, Any]]
CASES: dict[str, tuple[list[str], list[Reader]]] = {
    "TensorBoard": (["--trainer.logger=pytorch_lightning.loggers.TensorBoardLogger"], [of_tensorboard]),
    "CSV": (["--trainer.logger=CSVLogger"], [of_csv]),
    "ours and CSV": (["--trainer.logger+=CSVLogger"], [of_tensorboard, of_csv]),
    "wandb": (["--trainer.logger=pytorch_lightning.loggers.WandbLogger"], [of_wandb]),
    "mlflow": (["--trainer.logger=MLFlowLogger"], [of_mlflow]),
    "none": (["--trainer.logger=false"], []),
}


@pytest.mark.parametrize("case", CASES)
def test_every_logger_gets_all_that_it_takes(workspace: Path, trained: Path, case: str) -> None:
    if case in ("wandb", "mlflow"):
        needs(case)
    options, readers = CASES[case]
    run(["fit", *TINY, *options, "--trainer.max_epochs=1"])
    run(["fit", "--ckpt_path=last", *QUIET, "--trainer.max_epochs=2"])
    run(["test", "--ckpt_path=best", *QUIET])
    results = json.loads((RUN / "metrics.json").read_text())
    first, second = (torch.load(path / "checkpoints/last.ckpt", weights_only=True) for path in (trained, RUN))
    assert all(torch.equal(second["state_dict"][name], weight) for name, weight in first["state_dict"].items())
    for read in readers:
        found = read(RUN)
        assert str(found["settings"]["model.decoder.latent_dim"]) == "3"
        assert found["settings"]["model.decoder"] == "MLPDecoder"
        assert {"train/elbo", "train/kl", "train/beta", "val/elbo", "test/elbo"} <= found["metrics"].keys()
        assert found["metrics"]["test/nll"] == pytest.approx(results["nll"])
        if read is not of_csv:
            assert found["pictures"] >= PICTURES
            assert "test/results" in found["texts"]
    assert os.listdir() == ["lightning_logs"], "nothing lies outside of the folder of all runs"
    assert set(os.listdir("lightning_logs")) <= {"tiny", "mlflow.db", "mlflow"}
    assert os.listdir("lightning_logs/tiny") == ["version_0"]


def test_texts_and_the_places_that_a_user_chose(workspace: Path) -> None:
    needs("wandb")
    needs("mlflow")
    write_corpus()
    place = str(workspace / "mine")
    theirs = [
        {"class_path": "pytorch_lightning.loggers.WandbLogger", "init_args": {"save_dir": place, "project": "theirs"}},
        {"class_path": "pytorch_lightning.loggers.MLFlowLogger", "init_args": {"tracking_uri": "sqlite:///mine.db"}},
        {"class_path": "skipvae.callbacks.RunLogger"},
    ]
    Path("loggers.yaml").write_text(yaml.safe_dump({"trainer": {"logger": theirs}}))
    run(["fit", *SMALL, "--config=loggers.yaml", "--trainer.max_epochs=1"])
    folder = Path("lightning_logs/text/version_0")
    ids = json.loads((folder / "loggers.json").read_text())
    assert set(ids) == {"W&B /theirs", "MLflow sqlite:///mine.db text"}
    assert read_run(Path("mine"))["ids"] == {ids["W&B /theirs"]}
    for found in (of_wandb(Path("mine")), of_mlflow(folder, "sqlite:///mine.db"), of_tensorboard(folder)):
        assert found["texts"] >= TEXTS
    assert sys.modules["wandb"].run is None, "the next command of the process has a run of its own"


@pytest.mark.parametrize(("logger", "package"), [("WandbLogger", "wandb"), ("MLFlowLogger", "mlflow")])
def test_a_package_that_is_missing_is_named(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, logger: str, package: str
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    said = error_of(capsys, "fit", *TINY, f"--trainer.logger=pytorch_lightning.loggers.{logger}")
    assert said == f"{logger} needs the package {package}, which is not installed: pip install 'skipvae[{package}]'"
    assert not os.listdir()


def test_an_error_of_a_service_is_one_line() -> None:
    error = type("UsageError", (Exception,), {"__module__": "wandb.errors"})("no API key\n  configured")
    assert user_message(error) == "no API key: configured"


def test_only_the_run_of_the_command_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    opened = SimpleNamespace(finish=lambda exit_code: ended.append(exit_code))
    wandb = SimpleNamespace(run=opened)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with loggers.ended_wandb_run():
        pass  # the user's own, from before the command
    assert ended == []
    wandb.run = None

    def fail() -> None:
        with loggers.ended_wandb_run():
            wandb.run = opened
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert ended == [1]
