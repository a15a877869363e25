"""What needs processes of its own: `python -m skipvae`, signals, and training in two processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.command_line import CONFIG, QUIET, ROOT, RUN, TINY, overridden, plain

LAST = RUN / "checkpoints" / "last.ckpt"
TWO = ("--trainer.devices=2", "--trainer.accelerator=cpu", "--trainer.strategy=ddp", *QUIET)


def in_a_process(*args: str) -> subprocess.CompletedProcess[str]:
    """`python -m skipvae` in the working folder."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "skipvae", *overridden(args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=250, check=False)


def test_two_processes_train_without_unused_parameters(workspace: Path) -> None:
    done = in_a_process("fit", *TINY, *TWO, "--model.decoder.skip=true", "--trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr[-2000:]
    saved = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 2  # 200 examples, 2 processes, batches of 50
    done = in_a_process("fit", "--ckpt_path=last", *TWO, "--trainer.max_epochs=2")  # they share the lock of the folder
    assert done.returncode == 0, done.stderr[-2000:]
    assert torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 4
    assert os.listdir("lightning_logs/tiny") == ["version_0"]


def test_two_processes_measure_what_one_does(tiny_run: Path) -> None:
    settings = ("--ckpt_path=last", "--model.num_importance_samples=3", "--data.eval_batch_size=90")
    alone = plain(["test", *QUIET, *settings]).model.results
    done = in_a_process("test", *settings, *TWO)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("test: 500 examples") == 1
    together = json.loads(next(tiny_run.glob("with-*/metrics.json")).read_text())
    for name, value in alone.items():
        assert together[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6)), name


def test_python_m_skipvae_is_the_same(workspace: Path) -> None:
    done = in_a_process("fit", "--config", "nowhere.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("skipvae: error: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("processes", [(), TWO], ids=["one", "two"])
def test_ctrl_c_in_processes_of_their_own(workspace: Path, processes: Any) -> None:
    arguments = ["fit", "--config", str(CONFIG), "--name=tiny", *QUIET, *processes]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "skipvae",
            *overridden(arguments),
            "--model.encoder.hidden_dim=8",
            "--model.decoder.hidden_dim=8",
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (LAST.exists() or process.poll() is not None):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes get it
    said, complained = process.communicate(timeout=120)
    assert process.returncode not in (0, 2)
    assert "skipvae fit --ckpt_path" in said
    assert "Traceback" not in complained
    assert torch.load(LAST, weights_only=True)["global_step"] > 0
