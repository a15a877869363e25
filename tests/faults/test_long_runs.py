"""Long runs: memory, handles and files do not grow with time."""

import gc
import json
import os
import threading
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import pytorch_lightning as pl
import torch

from tests.command_line import CONFIG, QUIET, TINY_MODEL
from tests.faults.conftest import Inject
from tests.faults.processes import Child
from tests.faults.work import run

WARM_UP = 0.25
"""Share of the run after which nothing may grow any more."""
MEGABYTES = 10
"""How much more memory the process may have at the end than after the warm-up."""
EVENTS_PER_VALIDATION = 4_000
"""Bytes of TensorBoard's files for each validation and the steps before it, pictures aside."""
LONG = (
    *("--config", str(CONFIG), "--name=long", *QUIET, *TINY_MODEL, "--trainer.log_every_n_steps=50"),
    *("--data.train_size=500", "--data.batch_size=5", "--data.eval_batch_size=250", "--trainer.accelerator=cpu"),
)


class Watch(pl.Callback):
    """Looks at the process after every validation."""

    def __init__(self) -> None:
        self.seen: list[dict[str, int]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch % 5 == 0:
            gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        metrics = [metric for metric in pl_module.evaluation.children() if hasattr(metric, "rows")]  # type: ignore
        self.seen.append(
            {
                "kilobytes": pages * os.sysconf("SC_PAGESIZE") // 1024,
                "handles": len(os.listdir("/proc/self/fd")),
                "threads": threading.active_count(),
                "figures": len(plt.get_fignums()),
                "rows of metrics": sum(len(metric.rows) for metric in metrics),
                "tensors": sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())
                if trainer.current_epoch % 20 == 0
                else 0,
                "step": trainer.global_step,
                "bytes of events": sum(path.stat().st_size for path in Path("lightning_logs").rglob("events.*")),
            }
        )


def long_run(epochs: int) -> None:
    """Many short epochs, each with a validation; writes what was seen of the process."""
    watch = Watch()
    run(["fit", *LONG, f"--trainer.max_epochs={epochs}"], callbacks=[watch])
    Path("seen.json").write_text(json.dumps(watch.seen))


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at the process in /proc")
@pytest.mark.parametrize("epochs", [8, pytest.param(200, marks=pytest.mark.faults)])
def test_nothing_grows(tmp_path: Path, inject: Inject, epochs: int) -> None:
    with inject(f"{100 * epochs:,} steps with {epochs} validations"):
        Child(long_run, epochs, folder=tmp_path).done(seconds=500)
        seen: list[dict[str, Any]] = json.loads((tmp_path / "seen.json").read_text())
        assert len(seen) == epochs
        assert seen[-1]["step"] == 100 * epochs
        warm = seen[int(WARM_UP * epochs) :]
        first, last = warm[0], warm[-1]
        if epochs >= 100:
            counted = [row["tensors"] for row in warm if row["tensors"]]
            assert max(counted) - counted[0] <= 50
        assert max(row["kilobytes"] for row in warm) - first["kilobytes"] < 1024 * MEGABYTES
        assert last["handles"] <= first["handles"]
        assert last["threads"] <= first["threads"]
        assert {row["figures"] for row in seen} == {0}
        assert {row["rows of metrics"] for row in seen} == {0}
        assert last["bytes of events"] - first["bytes of events"] < EVENTS_PER_VALIDATION * len(warm) + 1_000_000
