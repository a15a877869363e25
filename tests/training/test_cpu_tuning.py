"""What a process that trains on the CPU does: settings that last are tried in a process of their own."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytorch_lightning import Trainer

from skipvae.training.cpu_tuning import keep_freed_memory, tune_process
from skipvae.training.fast_module import SWITCH
from tests.models.scripted import Scripted, batches

COUNT = """
import resource, sys
import torch
from skipvae.training.cpu_tuning import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [torch.ones(10_000_000) for _ in range(2)]  # 40 MB each: more than glibc ever keeps by itself
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
given_back = faults()
agreed = keep_freed_memory()
faults()
print(agreed, given_back, faults())
"""


def count() -> tuple[bool, int, int]:
    """Whether the library agreed, and the page faults of 10 rounds before and after."""
    done = subprocess.run([sys.executable, "-c", COUNT], env={}, capture_output=True, text=True, check=True)
    agreed, before, after = done.stdout.split()
    return agreed == "True", int(before), int(after)


glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc knows this setting")


@glibc
def test_what_is_freed_serves_again() -> None:
    agreed, before, after = count()
    assert agreed
    pages = 10 * 2 * 40_000_000 // 4096  # of the usual size, where the system gives them out one by one
    assert before > pages / 1024
    assert after < before / 20


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_ARENA_MAX_", "2"), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1")]
)
def test_the_users_choice_holds(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    asked = []
    library = SimpleNamespace(mallopt=lambda *setting: asked.append(setting) or 1)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.environ", {name: value})
    monkeypatch.setattr("ctypes.CDLL", lambda _: library)
    assert not keep_freed_memory()
    assert asked == []


@pytest.mark.parametrize(("available", "kept"), [(True, True), (False, False)])
def test_no_gpu_is_looked_for_in_vain_at_each_step(
    monkeypatch: pytest.MonkeyPatch, available: bool, kept: bool
) -> None:
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: available)
    monkeypatch.setattr("skipvae.training.cpu_tuning.keep_freed_memory", lambda: True)
    tune_process()
    assert ("PYTORCH_NVML_BASED_CUDA_CHECK" in os.environ) is kept


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
@pytest.mark.parametrize("fast", ["1", "0"])
def test_every_trainer_tunes_its_process_unless_that_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str, fast: str
) -> None:
    called = []
    monkeypatch.setenv(SWITCH, fast)
    monkeypatch.setattr("skipvae.training.fast_module.tune_process", lambda: called.append(1))
    trainer = Trainer(default_root_dir=tmp_path, fast_dev_run=True, accelerator="cpu")
    getattr(trainer, stage)(Scripted(), batches())
    assert bool(called) == (fast == "1")


def test_elsewhere_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert not keep_freed_memory()


@pytest.mark.parametrize(
    ("refused", "agreed"),
    [((), True), ((-3,), True), ((-3, -4), False), ((-1,), False)],
    ids=["new", "old", "odd", "none"],
)
def test_older_libraries_refuse_the_threshold(monkeypatch: pytest.MonkeyPatch, refused: Any, agreed: bool) -> None:
    library = SimpleNamespace(mallopt=lambda name, value: int(name not in refused))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.environ", {})
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    assert keep_freed_memory() is agreed
