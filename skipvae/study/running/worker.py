"""One point of a study: an ordinary fit, taken up where it stopped, then an ordinary test of the best checkpoint."""

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
from skipvae.persistence.checkpoint import read_checkpoint
from skipvae.study.plan import Point
from skipvae.study.provenance import data_digest, environment
from skipvae.study.status import Record, output_to_log
from skipvae.training.signals import TERMINATED


class Launch(Protocol):
    """Runs a command line such as `["fit", "--config", ...]` in this process, with further callbacks."""

    def __call__(self, args: list[str], callbacks: Sequence[Callback] = ()) -> Any:
        """What comes back has the `datamodule` of the command."""


def run_point(point: Point, code: dict[str, str], launch: Launch) -> Record:
    """Does what is left to do of a point; whatever is printed goes to its log.

    Args:
        point: what to run.
        code: digests of the code that runs it.
        launch: how to run a command line.

    Returns:
        The record at the end: finished, or failed with the reason.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the next call continues from there.
        SystemExit: when the process is asked to end (SIGTERM); likewise.
        BlockingIOError: if another process is at work on the point.
    """
    with output_to_log(point.folder), _interrupt_handler_kept():
        record = Record.read(point.folder)
        record.error = None
        record.code = {name: _both(record.code.get(name), digest) for name, digest in code.items()}
        progress = RecordProgress(record, point.folder)
        try:
            if not record.trained:
                record.state, record.environment = "training", environment()
                record.write(point.folder)
                last = point.folder / "checkpoints" / "last.ckpt"
                launch(["fit", "--ckpt_path", str(last)] if _is_readable(last) else point.arguments, [progress])
                record.trained = True
            record.state = "testing"
            record.write(point.folder)
            tested = launch(["test", "--ckpt_path", str(best_checkpoint(point.folder))], [progress])
            record.data = data_digest(tested.datamodule)
            record.state = "finished"
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code == TERMINATED:
                raise
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            traceback.print_exc()
            record.state, record.error = "failed", one_line(error)
        finally:
            if record.state in ("training", "testing"):
                record.state = "interrupted"
            record.write(point.folder)
    return record


def best_checkpoint(folder: Path) -> Path:
    """The best checkpoint of a run, or its last one where nothing decided which is best.

    Raises:
        FileNotFoundError: if the run has no checkpoint.
    """
    for name in ("best", "last"):
        checkpoint = folder / "checkpoints" / f"{name}.ckpt"
        if checkpoint.is_file():
            return checkpoint
    raise FileNotFoundError(f"there is no checkpoint in {folder / 'checkpoints'}: remove {folder} to train again")


def _is_readable(checkpoint: Path) -> bool:
    try:
        read_checkpoint(checkpoint)
    except (FileNotFoundError, ValueError):
        return False
    return True


def _both(before: str | None, now: str) -> str:
    """The digest of code that was exchanged in the middle of a run is that of neither."""
    return now if before in (None, now) else f"{before}+{now}"


@contextmanager
def _interrupt_handler_kept() -> Iterator[None]:
    """Lightning switches Ctrl-C off when it was used once; the next point needs it again."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


class RecordProgress(ProgressBar):
    """Notes in the run folder how far training is, for whoever watches from another process."""

    INTERVAL = 0.5
    """Seconds between two notes."""

    def __init__(self, record: Record, folder: Path) -> None:
        super().__init__()
        self._record, self._folder = record, folder
        self._seconds_before = record.seconds
        self._begin = self._noted = 0.0

    def disable(self) -> None:
        """Called in processes other than the first."""
        self._noted = float("inf")

    def enable(self) -> None:
        """Never called by the trainer."""
        self._noted = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._begin = time.perf_counter()
        self._record.num_steps = int(min(trainer.estimated_stepping_batches, 2**53))

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Notes the step, if it is time to."""
        now = time.perf_counter()
        if now - self._noted > self.INTERVAL:
            self._note(trainer, now)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the end."""
        self._note(trainer, time.perf_counter())

    def _note(self, trainer: Trainer, now: float) -> None:
        self._record.step = trainer.global_step
        self._record.seconds = self._seconds_before + now - self._begin
        if "val/elbo" in trainer.callback_metrics:
            self._record.elbo = float(trainer.callback_metrics["val/elbo"])
        self._record.write(self._folder)
        self._noted = now
