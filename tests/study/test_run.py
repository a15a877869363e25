"""`skipvae study`: from a file to a table, whatever gets in between."""

import contextlib
import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from skipvae.cli import parse
from skipvae.cli import run as launch
from skipvae.study import main
from skipvae.study.plan import read_study
from skipvae.study.status import RunStatus, is_running
from tests.study.conftest import command, environment, in_process_of_its_own, write

pytestmark = pytest.mark.slow

WriteStudy = Callable[..., Path]
LOGS = Path("lightning_logs/small")
LONGER = {"trainer.max_epochs": 12}


def study(*args: object) -> None:
    """`skipvae study ...` in this process."""
    main([str(arg) for arg in args], launch, parse)


def table() -> list[dict[str, str]]:
    """The table of the report, without the time that runs took."""
    with (LOGS / "report" / "table.csv").open(encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in csv.DictReader(file)]


def states() -> dict[str, str]:
    return {folder.parent.name: RunStatus.read(folder.parent).state for folder in sorted(LOGS.glob("*/study.json"))}


def wait_until_training(process: "subprocess.Popen[str]", folder: Path) -> None:
    """Waits until a run has saved a checkpoint and is still training."""
    while not (folder / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, "the process ended too early"
        time.sleep(0.02)
    assert RunStatus.read(folder).state == "training"


def test_run_then_report(write_study: WriteStudy, capfd: pytest.CaptureFixture[str]) -> None:
    quiet = {"trainer.enable_progress_bar": False}
    file = write_study(vary={"K": {"model.decoder.latent_dim": [2, 3]}}, overrides=quiet, seeds=[2])
    study("run", file, "--dry_run")
    shown = capfd.readouterr().out
    assert "SKIP-VAE-K3-seed2" in shown
    assert "model.decoder.skip=True" in shown
    assert not LOGS.exists()

    study("run", file)
    shown = capfd.readouterr().out
    assert shown.count("finished: ") == 4
    assert "MI ≤ 6.21" in shown
    assert "tensorboard --logdir lightning_logs" in shown
    for run in read_study(file).runs:  # ordinary run folders
        for name in ("config.yaml", "metrics.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "log.txt"):
            assert (run.folder / name).is_file()
        assert list(run.folder.glob("events.out.tfevents.*"))
        status = RunStatus.read(run.folder)
        assert (status.state, status.step, status.num_steps) == ("finished", 8, 8)
        assert status.code.keys() == {"datamodules", "skipvae"}
        assert status.data
    assert len(table()) == 4
    figures = {path.name for path in (LOGS / "report").iterdir()}
    for name in ("by_K", "kl_per_dimension", "active_units", "training", "images-K2", "images-K3", "latent_space"):
        assert {f"{name}.png", f"{name}.svg"} <= figures

    before = {path: path.stat().st_mtime_ns for path in LOGS.glob("*/checkpoints/*")}
    first = table()
    study("run", file)  # everything is finished: only the report is made again
    study("report", file, "--output", "elsewhere")
    assert {path: path.stat().st_mtime_ns for path in LOGS.glob("*/checkpoints/*")} == before
    assert table() == first
    assert Path("elsewhere/table.csv").read_text() == (LOGS / "report" / "table.csv").read_text()
    page = Path("elsewhere/report.md").read_text(encoding="utf-8")
    assert f"skipvae study run {file}" in page
    assert "![by_K](by_K.png)" in page


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The table of a study that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with contextlib.chdir(folder):
        study("run", write(folder, overrides=LONGER))
        return table()


def test_killed_and_called_again_gives_the_same_table(
    write_study: WriteStudy, undisturbed: list[dict[str, str]]
) -> None:
    file = write_study(overrides=LONGER)
    process = subprocess.Popen(
        command("run", file), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_until_training(process, LOGS / "VAE-seed1")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert states() == {"VAE-seed1": "interrupted", "SKIP-VAE-seed1": "waiting"}
    with pytest.raises(ValueError, match="2 of 2 runs are missing, the first is VAE-seed1: skipvae study run"):
        study("report", file)

    study("run", file)
    assert "Restor" in (LOGS / "VAE-seed1" / "log.txt").read_text(encoding="utf-8")  # it was resumed, not started again
    assert table() == undisturbed


@pytest.mark.parametrize(
    ("kind", "status", "jobs"),
    [(signal.SIGINT, 130, []), (signal.SIGTERM, 143, []), (signal.SIGTERM, 143, ["--jobs=2"])],
)
def test_ctrl_c_and_sigterm_save_and_say_how_to_continue(
    write_study: WriteStudy, kind: signal.Signals, status: int, jobs: list[str]
) -> None:
    file = write_study(overrides={"trainer.max_epochs": 4000, "checkpoints.every_n_train_steps": 0})
    process = subprocess.Popen(
        command("run", file, *jobs), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_until_training(process, LOGS / "VAE-seed1")
    process.send_signal(kind)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == status
    assert f"To continue: skipvae study run {file}" in output
    assert "Traceback" not in output
    assert states()["VAE-seed1"] == "interrupted"
    assert states()["SKIP-VAE-seed1"] != "training"  # no child is left behind
    assert not is_running(LOGS / "SKIP-VAE-seed1")
    status = json.loads((LOGS / "VAE-seed1" / "study.json").read_text(encoding="utf-8"))
    last = torch.load(LOGS / "VAE-seed1" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] >= status["step"] > 0


FAILS = """
from datamodules import MNISTDigitsDataModule
class Broken(MNISTDigitsDataModule):
    def train_dataloader(self):
        raise RuntimeError("the disk is on fire")
"""


@pytest.fixture
def broken_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """A data module of the user that fails once training starts."""
    (tmp_path / "mydata.py").write_text(FAILS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield {"data": {"class_path": "mydata.Broken", "init_args": {"batch_size": 100}}}
    sys.modules.pop("mydata", None)


def test_a_failed_run_is_reported_and_stops_no_other(
    write_study: WriteStudy, broken_data: dict[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_study(models={"BROKEN": broken_data, "VAE": {}})
    with pytest.raises(SystemExit) as end:
        study("run", file)
    assert end.value.code == 1
    assert states() == {"BROKEN-seed1": "failed", "VAE-seed1": "finished"}
    shown = capfd.readouterr().out
    assert "failed: the disk is on fire (see lightning_logs/small/BROKEN-seed1/log.txt)" in " ".join(shown.split())
    assert "Traceback" in (LOGS / "BROKEN-seed1" / "log.txt").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="1 of 2 runs are missing, the first is BROKEN-seed1"):
        study("report", file)
    study("report", file, "--partial")
    assert [row["model"] for row in table()] == ["VAE"]

    Path("mydata.py").write_text(FAILS.replace("raise", "return super().train_dataloader() #"), encoding="utf-8")
    sys.modules.pop("mydata")
    study("run", file)  # the corrected run is tried again
    assert [row["model"] for row in table()] == ["BROKEN", "VAE"]


def test_several_jobs_give_the_same_table(write_study: WriteStudy, undisturbed: list[dict[str, str]]) -> None:
    done = in_process_of_its_own("run", write_study(overrides=LONGER), "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished: ") == 2
    assert table() == undisturbed


def test_a_job_that_dies_is_a_failed_run(write_study: WriteStudy, broken_data: dict[str, object]) -> None:
    Path("mydata.py").write_text(FAILS.replace('raise RuntimeError("the disk is on fire")', "import os; os._exit(9)"))
    done = in_process_of_its_own("run", write_study(models={"BROKEN": broken_data}), "--jobs", 2)
    assert done.returncode == 1
    assert done.stdout.count("failed: its process ended with exit status 9") == 1


@pytest.mark.parametrize("kind", ["local", "debug"])
def test_submitit_runs_the_same_runs(write_study: WriteStudy, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    study("run", write_study(models={"VAE": {}}, overrides={"trainer.max_epochs": 1}), "--cluster", kind)
    assert states() == {"VAE-seed1": "finished"}
    assert len(table()) == 1


def test_cluster_without_submitit(write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'skipvae\[cluster\]'"):
        study("run", write_study(), "--cluster", "local")


def test_only_some_runs(write_study: WriteStudy) -> None:
    file = write_study()
    with pytest.raises(ValueError, match="has no run VEA-seed1: choose from VAE-seed1, SKIP-VAE-seed1"):
        study("run", file, "--only", "VEA-seed1")
    study("run", file, "--only", "SKIP-VAE-seed1")
    assert states() == {"SKIP-VAE-seed1": "finished"}
    assert not (LOGS / "report").exists()


def test_a_changed_study_file_is_noticed(write_study: WriteStudy) -> None:
    study("run", write_study(models={"VAE": {}}))
    file = write_study(models={"VAE": {"trainer.max_epochs": 3}})
    for command_name in ("run", "report"):
        with pytest.raises(ValueError, match=r"was made with trainer\.max_epochs=2, and .* now asks for 3"):
            study(command_name, file)


def test_code_that_changed_is_noticed(write_study: WriteStudy) -> None:
    file = write_study(seeds=[1, 2])
    study("run", file, "--only", "VAE-seed1", "VAE-seed2", "SKIP-VAE-seed1")
    status = RunStatus.read(LOGS / "VAE-seed2")
    status.code["skipvae"] = "another"
    status.write(LOGS / "VAE-seed2")
    with pytest.raises(ValueError, match=r"VAE-seed2 .*was made with other code than"):
        study("run", file)
    with pytest.raises(ValueError, match=r"VAE-seed2 .*was made with other code than VAE-seed1"):
        study("report", file, "--partial")
    study("report", file, "--partial", "--allow_mixed")
    assert len(table()) == 2
    study("report", file, "--partial", "--mixed")  # its name in earlier versions


ANNOUNCE = """
import os
import signal
from pathlib import Path
from pytorch_lightning import Callback


class Announce(Callback):
    "The job ends soon, once."

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 6 and not Path("announced").exists():
            Path("announced").touch()
            os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_under_slurm_rows_keep_to_their_own_folders_whatever_their_loggers(
    write_study: WriteStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NTASKS": "1", "JOB_NAME": "x", "JOB_ID": "77"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.syspath_prepend(tmp_path)  # type: ignore[no-untyped-call]
    Path("announce.py").write_text(ANNOUNCE)
    loggers = [
        {"class_path": "CSVLogger", "init_args": {"save_dir": "csv"}},
        {"class_path": "skipvae.logger.RunLogger"},
    ]
    file = write_study(
        models={"VAE": {}}, overrides={"trainer.logger": loggers, "trainer.callbacks": "announce.Announce"}
    )
    Path("hpc_ckpt_1.ckpt").write_bytes(b"of somebody else")  # reading it would be an error
    with pytest.raises(SystemExit) as exit_:
        study("run", file)
    assert exit_.value.code == 130
    assert states() == {"VAE-seed1": "interrupted"}
    study("run", file)
    status = RunStatus.read(LOGS / "VAE-seed1")
    assert (status.state, status.step) == ("finished", 8)
    assert {"config.yaml", "metrics.json", "checkpoints"} <= {path.name for path in (LOGS / "VAE-seed1").iterdir()}
    assert len(table()) == 1
