"""What the processes of a study see of the machine, and how their ends are told apart."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from skipvae.study.plan import Point, read_study
from skipvae.study.running.executors import ClusterJob, environment_of, note_death
from skipvae.study.status import Record


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
def point(write_study: Callable[..., Path]) -> Point:
    return read_study(write_study()).points[0]


@pytest.mark.parametrize(
    ("state", "status", "after"),
    [
        ("training", -9, "failed"),  # nobody holds the log any more, so it was killed
        ("waiting", 1, "failed"),
        ("finished", 1, "finished"),
        ("failed", 1, "failed"),
        ("waiting", 0, "waiting"),
    ],
)
def test_a_process_that_ends_without_a_word_has_failed(point: Point, state: str, status: int, after: str) -> None:
    point.folder.mkdir(parents=True)
    Record(state, error="first").write(point.folder)
    note_death(point, status)
    record = Record.read(point.folder)
    assert record.state == after
    if after != state:
        assert record.error == f"its process ended with exit status {status}"


def test_a_preempted_cluster_job_is_begun_again() -> None:
    pytest.importorskip("submitit")
    job = ClusterJob(["true"])
    assert job.checkpoint().function is job
    assert job() == 0
    assert ClusterJob(["false"])() == 1
