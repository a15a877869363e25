"""The status of a run of a study, in its folder: study.json, and a log that is locked while the run is at work."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TextIO

from skipvae.persistence.atomic import atomic_write

try:
    import fcntl
except ModuleNotFoundError:  # Windows: nothing keeps two processes from executing one run
    fcntl = None  # type: ignore[assignment]


@dataclass
class RunStatus:
    """The progress of a run, and its provenance.

    Attributes:
        state: waiting, training, testing, finished, failed or interrupted.
        trained: whether training reached its end.
        step: optimiser steps done.
        num_steps: optimiser steps of the whole training; 0 while unknown.
        elbo: the validation ELBO measured last.
        validation: the metrics of the best checkpoint on the validation split, where a search needs them.
        seconds: of training so far, over all calls.
        error: the reason for a failure, in one line.
        code: digest of each package of code; see `skipvae.study.provenance`.
        data: digest of the data.
        environment: versions and hardware.
    """

    state: str = "waiting"
    trained: bool = False
    step: int = 0
    num_steps: int = 0
    elbo: float | None = None
    validation: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    code: dict[str, str] = field(default_factory=dict)
    data: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes study.json; it is whole at any moment."""
        with atomic_write(folder / "study.json") as file:
            json.dump(asdict(self), file, indent=2)

    def queued(self) -> "RunStatus":
        """The same status, waiting to be executed."""
        return replace(self, state="waiting", error=None)

    @classmethod
    def read(cls, folder: Path) -> "RunStatus":
        """The status in a run folder; a new one if it has none.

        A run whose process was killed counts as interrupted.
        """
        try:
            status = cls(**json.loads((folder / "study.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError) as error:
            raise ValueError(f"{folder / 'study.json'} is damaged: remove {folder} to run it again") from error
        if status.state in ("training", "testing") and not is_running(folder):
            status.state = "interrupted"
        return status


def log_of(folder: Path) -> Path:
    """The file that the output of a run goes to."""
    return folder / "log.txt"


def is_running(folder: Path) -> bool:
    """Whether a process, on this machine or another that shares the disk, is executing the run of a folder."""
    if fcntl is None or not log_of(folder).is_file():
        return False
    with log_of(folder).open() as log:
        try:
            fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def output_to_log(folder: Path) -> Iterator[None]:
    """Redirects the output of this process and its children to the log of a run folder, which is locked meanwhile.

    The lock belongs to the open file: it goes when the last process that writes to it ends, however it ends.

    Raises:
        BlockingIOError: if another process is executing the run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with log_of(folder).open("a", buffering=1, encoding="utf-8") as log:
        if fcntl is not None:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Streams and descriptors: loggers hold on to the stream they began with, and children inherit descriptors.
        with (
            _descriptor_redirected(log, sys.stdout, 1),
            _descriptor_redirected(log, sys.stderr, 2),
            redirect_stdout(log),
            redirect_stderr(log),
        ):
            yield


@contextmanager
def _descriptor_redirected(log: TextIO, stream: TextIO, descriptor: int) -> Iterator[None]:
    stream.flush()
    kept = os.dup(descriptor)
    os.dup2(log.fileno(), descriptor)
    try:
        yield
    finally:
        with suppress(ValueError):
            stream.flush()
        os.dup2(kept, descriptor)
        os.close(kept)
