"""A run has one folder, whatever its loggers, and nothing else is taken for it."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml

from skipvae.persistence.run_folder import locked
from tests.command_line import QUIET, RUN, TINY, error_of, fit, plain, resume

pytestmark = pytest.mark.slow
ELSEWHERE = """
from pytorch_lightning.loggers.logger import Logger


class Elsewhere(Logger):
    "Keeps its own records in its own place under its own names, as those of W&B and MLflow do."

    save_dir, name, version = "elsewhere", "their-experiment", "a1b2c3"

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, params, *args):
        pass
"""
OURS = {"class_path": "skipvae.callbacks.RunLogger"}
LOGGERS = {
    "two": [OURS, {"class_path": "CSVLogger", "init_args": {"save_dir": "csv"}}],
    "theirs first": [{"class_path": "elsewhere.Elsewhere"}, OURS],
    "theirs": {"class_path": "elsewhere.Elsewhere"},
    "none": False,
}
SLASH = (
    "--trainer.callbacks+=ModelCheckpoint",
    "--trainer.callbacks.monitor=val/kl",
    "--trainer.callbacks.filename={val/elbo}",
)


def load(path: Path | str) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


@pytest.fixture
def elsewhere(workspace: Path) -> Path:
    (workspace / "elsewhere.py").write_text(ELSEWHERE)
    return workspace


@pytest.mark.parametrize("logger", LOGGERS)
def test_a_run_stays_together_whatever_its_loggers(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], logger: str
) -> None:
    Path("loggers.yaml").write_text(yaml.safe_dump({"trainer": {"logger": LOGGERS[logger]}}))
    fit("--config=loggers.yaml", *SLASH)
    said = capsys.readouterr().out
    assert os.listdir("lightning_logs/tiny") == ["version_0"]
    assert {"config.yaml", "checkpoints"} <= {path.name for path in RUN.iterdir()}
    assert {"best.ckpt", "last.ckpt"} <= {path.name for path in (RUN / "checkpoints").iterdir()}
    deep = next(path for path in (RUN / "checkpoints").rglob("*.ckpt") if path.parent.name != "checkpoints")
    command = next(line for line in said.splitlines() if "skipvae test" in line).partition("skipvae ")[2].split()
    for args in (command, ["test", "--ckpt_path", str(deep)], ["test", "--ckpt_path=best", "--name=tiny"]):
        plain([*args, "--trainer.limit_test_batches=1"])
        (results,) = RUN.glob("with-*/metrics.json")  # those of other settings lie in a folder of their own in the run
        assert json.loads(results.read_text())["num_examples"] == 250
        results.unlink()
    plain(["predict", "--ckpt_path=best", *QUIET, "--trainer.limit_predict_batches=1"])
    assert len(list(RUN.glob("with-*/predictions.csv"))) == 1
    resumed = resume(epochs=2).trainer
    assert resumed.global_step == 8
    assert all(callback.best_model_score is not None for callback in resumed.checkpoint_callbacks if callback.monitor)
    assert os.listdir("lightning_logs/tiny") == ["version_0"]


def test_the_root_of_all_runs_can_be_chosen(workspace: Path) -> None:
    root = "--trainer.default_root_dir=here/runs"
    fit(root)
    assert Path("here/runs/tiny/version_0/config.yaml").is_file()
    assert resume(root, epochs=2).trainer.global_step == 8
    fit(root)  # another one
    plain(["test", "--ckpt_path=best", "--name=tiny", root, *QUIET])
    assert Path("here/runs/tiny/version_1/metrics.json").is_file()
    assert not Path("lightning_logs").exists()
    saved = "here/runs/tiny/version_0/config.yaml"
    plain(["fit", "--config", saved, "--trainer.max_steps=1"])  # repeats the run, beside it
    assert Path("here/runs/tiny/version_2/checkpoints/last.ckpt").is_file()


def test_a_run_that_fails_before_it_begins_leaves_no_folder(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error_of(capsys, "fit", *TINY, "--model.decoder.hidden_dim=-1")
    assert not os.listdir()


@pytest.mark.parametrize("name", ["a/b", "../a", "..", "~a", "$HOME", ""])
@pytest.mark.parametrize("option", ["--name", "--version"])
def test_a_name_is_that_of_one_folder(
    workspace: Path, capsys: pytest.CaptureFixture[str], name: str, option: str
) -> None:
    assert "would lie outside of lightning_logs: give it a name without slashes" in error_of(
        capsys, "fit", *TINY, f"{option}={name}"
    )
    assert not os.listdir()


@pytest.mark.parametrize(
    "option", ["--trainer.logger.save_dir=csv", "--trainer.logger.version=3", "--trainer.logger.name=other"]
)
def test_a_second_place_for_a_run_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert f"leave out {option.partition('=')[0]}" in error_of(capsys, "fit", *TINY, option)
    assert not os.listdir()


def test_a_root_that_is_no_disk_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not on a disk" in error_of(capsys, "fit", *TINY, "--trainer.default_root_dir=s3://bucket")


def test_a_run_is_not_written_over_by_another(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (tiny_run / "checkpoints/last.ckpt").read_bytes()
    assert "there is a run in lightning_logs/tiny/version_0: resume it" in error_of(
        capsys, "fit", *TINY, "--version=version_0"
    )
    assert (tiny_run / "checkpoints/last.ckpt").read_bytes() == before


def test_two_processes_do_not_train_in_one_folder(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(tiny_run.resolve()):
        said = error_of(capsys, "fit", "--ckpt_path=last", *QUIET, "--trainer.max_epochs=3")
        assert re.match(rf"process {os.getpid()} on \S+ is training in \S+tiny/version_0: wait", said)
        plain(["test", "--ckpt_path=last", *QUIET])  # looking is no work
    assert resume(epochs=3).trainer.global_step == 12


# -- SLURM ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> pytest.MonkeyPatch:
    """The environment of a job, and a command for its queue that writes down what it was asked."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in {"NTASKS": "1", "JOB_NAME": "x", "JOB_ID": "77"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    tools = workspace / "tools"
    tools.mkdir()
    (tools / "scontrol").write_text(f"#!/bin/sh\necho $@ >> {workspace}/queue\n")
    (tools / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return monkeypatch


def test_a_stray_checkpoint_is_never_taken(trained: Path, slurm: pytest.MonkeyPatch, workspace: Path) -> None:
    fit("--trainer.logger=false")
    clean = load(RUN / "checkpoints/last.ckpt")
    for place in (workspace, workspace / "lightning_logs", workspace / "lightning_logs/tiny"):
        (place / "hpc_ckpt_1.ckpt").write_bytes((trained / "checkpoints/last.ckpt").read_bytes())
    for options in ((), ("--trainer.fast_dev_run=1",)):
        cli = fit(*options)
        assert cli.trainer.global_step == (1 if options else 4)
    again = load(RUN.with_name("version_1") / "checkpoints/last.ckpt")
    assert all(torch.equal(again["state_dict"][name], weight) for name, weight in clean["state_dict"].items())


class Signal(pl.Callback):
    """The end of the job is announced after a number of steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGUSR1)


def test_a_job_that_is_queued_again_continues_its_run(slurm: pytest.MonkeyPatch, workspace: Path) -> None:
    fit("--trainer.logger=false", "--name=straight", epochs=2)
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(SystemExit):
        fit(epochs=2, callbacks=[Signal(6)])
    assert signal.getsignal(signal.SIGUSR1) is before
    assert Path("queue").read_text() == "requeue 77\n"
    assert load(RUN / "checkpoints/last.ckpt")["global_step"] == 6
    assert not list(workspace.rglob("hpc_ckpt*"))
    slurm.setenv("SLURM_JOB_ID", "78")
    fit(epochs=1)  # another job
    slurm.setenv("SLURM_JOB_ID", "77")
    fit(epochs=1)  # another run of the same job
    assert sorted(os.listdir("lightning_logs/tiny")) == ["version_0", "version_1", "version_2"]
    assert fit(epochs=2).trainer.global_step == 8
    first, second = (load(f"lightning_logs/{run}/version_0/checkpoints/last.ckpt") for run in ("straight", "tiny"))
    assert all(torch.equal(second["state_dict"][name], weight) for name, weight in first["state_dict"].items())
    fit(epochs=2)  # the same once more, in a job that was not queued again
    assert load("lightning_logs/tiny/version_3/checkpoints/last.ckpt")["global_step"] == 8


def test_a_job_that_was_killed_continues_each_of_its_runs(
    slurm: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.setenv("SLURM_ARRAY_JOB_ID", "70")
    slurm.setenv("SLURM_ARRAY_TASK_ID", "3")
    for seed in (1, 2):
        fit(f"--seed_everything={seed}")
    slurm.setenv("SLURM_RESTART_COUNT", "1")
    slurm.setenv("SLURM_JOB_ID", "99")  # tasks of an array get new ones
    fit("--seed_everything=2")
    fit("--seed_everything=1")
    assert sorted(os.listdir("lightning_logs/tiny")) == ["version_0", "version_1"]
    for version, seed in enumerate((1, 2)):
        saved = yaml.safe_load(Path(f"lightning_logs/tiny/version_{version}/config.yaml").read_text())
        assert saved["seed_everything"] == seed
    slurm.setenv("SLURM_ARRAY_TASK_ID", "4")
    fit("--seed_everything=1")
    assert sorted(os.listdir("lightning_logs/tiny")) == ["version_0", "version_1", "version_2"]


def test_a_run_folder_names_its_last_checkpoint_to_resume_and_its_best_to_start_from(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = plain(["fit", f"--ckpt_path={tiny_run}", *QUIET, "--trainer.max_epochs=2"])
    assert cli.config["fit"].ckpt_path == f"{tiny_run}/checkpoints/last.ckpt"
    cli = plain(["fit", f"--init_from={tiny_run}", *QUIET, "--trainer.max_steps=1"])
    assert cli.config["fit"].init_from == f"{tiny_run}/checkpoints/best.ckpt"
    for checkpoint in (tiny_run / "checkpoints").iterdir():
        checkpoint.unlink()
    said = error_of(capsys, "fit", "--ckpt_path", tiny_run)
    assert f"there is no checkpoint {tiny_run}/checkpoints/last.ckpt" in said
