"""The environment of the processes of a study, and the meaning of their exit statuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from skipvae.study.plan import Run, read_study
from skipvae.study.running.executors import ClusterJob, environment_of, mark_failed
from skipvae.study.status import RunStatus


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("gpus")
def test_each_process_gets_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [environment_of(job, 4)["CUDA_VISIBLE_DEVICES"] for job in range(4)] == ["0", "1", "2", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,MIG-7")
    assert [environment_of(job, 3)["CUDA_VISIBLE_DEVICES"] for job in range(3)] == ["5", "MIG-7", "5"]


def test_without_gpus_the_cpus_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment_of(0, 3)["OMP_NUM_THREADS"] == "2"
    assert environment_of(0, 16)["OMP_NUM_THREADS"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in environment_of(0, 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert environment_of(0, 3)["OMP_NUM_THREADS"] == "5"


@pytest.fixture
def run(write_study: Callable[..., Path]) -> Run:
    return read_study(write_study()).runs[0]


@pytest.mark.parametrize(
    ("state", "exit_status", "after"),
    [
        ("training", -9, "failed"),  # nobody holds the log any more, so it was killed
        ("waiting", 1, "failed"),
        ("finished", 1, "finished"),
        ("failed", 1, "failed"),
        ("waiting", 0, "waiting"),
    ],
)
def test_a_process_that_ends_without_a_word_has_failed(run: Run, state: str, exit_status: int, after: str) -> None:
    run.folder.mkdir(parents=True)
    RunStatus(state, error="first").write(run.folder)
    mark_failed(run, exit_status)
    status = RunStatus.read(run.folder)
    assert status.state == after
    if after != state:
        assert status.error == f"its process ended with exit status {exit_status}"


def test_a_preempted_cluster_job_is_begun_again() -> None:
    pytest.importorskip("submitit")
    job = ClusterJob(["true"])
    assert job.checkpoint().function is job
    assert job() == 0
    assert ClusterJob(["false"])() == 1
