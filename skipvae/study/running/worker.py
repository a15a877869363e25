"""One run of a study: an ordinary fit, resumed if it was interrupted, then an ordinary test of the best checkpoint."""

import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar

from skipvae.errors import one_line
from skipvae.persistence import saved_runs
from skipvae.persistence.checkpoint import read_checkpoint
from skipvae.study.plan import Run
from skipvae.study.provenance import data_digest, environment
from skipvae.study.status import RunStatus, output_to_log
from skipvae.training.signals import TERMINATED


class Launch(Protocol):
    """Runs a command line such as `["fit", "--config", ...]` in this process, with further callbacks."""

    def __call__(self, args: list[str], callbacks: Sequence[Callback] = ()) -> Any:
        """Returns the CLI object, which has the `trainer` and the `datamodule` of the command."""


def train_and_test(run: Run, code: dict[str, str], launch: Launch) -> RunStatus:
    """Trains and tests a run as far as it is not finished; all output goes to its log.

    Args:
        run: the run.
        code: digests of the code that executes it, by package.
        launch: runs a command line.

    Returns:
        The status at the end: finished, or failed with the reason.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the next call continues from there.
        SystemExit: when the process is asked to end (SIGTERM); likewise.
        BlockingIOError: if another process is executing the run.
    """
    with output_to_log(run.folder), _interrupt_handler_kept():
        status = RunStatus.read(run.folder)
        status.error = None
        status.code = {name: _both(status.code.get(name), digest) for name, digest in code.items()}
        progress = StatusWriter(status, run.folder)
        try:
            if not status.trained:
                status.state, status.environment = "training", environment()
                status.write(run.folder)
                last = run.folder / "checkpoints" / "last.ckpt"
                launch(["fit", "--ckpt_path", str(last)] if _is_readable(last) else run.arguments, [progress])
                status.trained = True
            best = str(saved_runs.best_checkpoint(run.folder))
            status.state = "testing"
            status.write(run.folder)
            if run.validated and not status.validation:
                metrics = launch(["validate", "--ckpt_path", best], [progress]).trainer.callback_metrics
                status.validation = {name: float(value) for name, value in metrics.items() if name.startswith("val/")}
            tested = launch(["test", "--ckpt_path", best], [progress])
            status.data = data_digest(tested.datamodule)
            status.state = "finished"
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code == TERMINATED:
                raise
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            traceback.print_exc()
            status.state, status.error = "failed", one_line(error)
        finally:
            if status.state in ("training", "testing"):
                status.state = "interrupted"
            status.write(run.folder)
    return status


def _is_readable(checkpoint: Path) -> bool:
    try:
        read_checkpoint(checkpoint)
    except (FileNotFoundError, ValueError):
        return False
    return True


def _both(before: str | None, now: str) -> str:
    """The digest of a run whose code changed between two parts of its training: equal to neither digest."""
    return now if before in (None, now) else f"{before}+{now}"


@contextmanager
def _interrupt_handler_kept() -> Iterator[None]:
    """Restores the handler of Ctrl-C, which Lightning disables once it was used; the next run needs it."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


class StatusWriter(ProgressBar):
    """Writes the progress of training to the run folder, where other processes read it."""

    INTERVAL = 0.5
    """Seconds between two writes."""

    def __init__(self, status: RunStatus, folder: Path) -> None:
        super().__init__()
        self._status, self._folder = status, folder
        self._seconds_before = status.seconds
        self._begin = self._written = 0.0

    def disable(self) -> None:
        """Called in processes other than the first."""
        self._written = float("inf")

    def enable(self) -> None:
        """Never called by the trainer."""
        self._written = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._begin = time.perf_counter()
        self._status.num_steps = int(min(trainer.estimated_stepping_batches, 2**53))

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Writes the step, if the interval is over."""
        now = time.perf_counter()
        if now - self._written > self.INTERVAL:
            self._write(trainer, now)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the last step."""
        self._write(trainer, time.perf_counter())

    def _write(self, trainer: Trainer, now: float) -> None:
        self._status.step = trainer.global_step
        self._status.seconds = self._seconds_before + now - self._begin
        if "val/elbo" in trainer.callback_metrics:
            self._status.elbo = float(trainer.callback_metrics["val/elbo"])
        self._status.write(self._folder)
        self._written = now
