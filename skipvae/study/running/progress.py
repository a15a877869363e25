"""The progress display of a study: a line for each run in progress, and one for each that ended."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from skipvae.study.plan import Run
from skipvae.study.status import RunStatus, log_of

INTERVAL = 0.5
"""Seconds between two readings of the run folders."""


def open_console() -> Console:
    """A console on the present standard output, which stays there when the output of a run is redirected to its log."""
    try:
        file: TextIO = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    except OSError:  # not a real file: a notebook, or a test
        file = sys.stdout
    return Console(file=file, highlight=False, width=None if file.isatty() else 160)


@contextmanager
def show_progress(runs: Sequence[Run], console: Console) -> Iterator[None]:
    """Shows the progress of runs during the block, whichever process and machine executes them."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    stop = threading.Event()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        display = _Display(runs, progress)

        def follow() -> None:
            while not stop.wait(INTERVAL):
                display.update()

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            stop.set()
            follower.join()
            display.update()


class _Display:
    """The lines of the runs in progress, and the total."""

    def __init__(self, runs: Sequence[Run], progress: Progress) -> None:
        self._open, self._progress = list(runs), progress
        self._width = max(len(run.name) for run in runs)
        self._lines: dict[str, TaskID] = {}
        self._total = progress.add_task("runs".ljust(self._width), total=len(runs), note="")

    def update(self) -> None:
        """Reads the status of all runs that have not ended."""
        for run in self._open.copy():
            status = RunStatus.read(run.folder)
            if status.state in ("training", "testing"):
                self._show(run, status)
            elif status.state in ("finished", "failed"):
                self._end(run, status)

    def _show(self, run: Run, status: RunStatus) -> None:
        note = status.state if status.elbo is None else f"{status.state}, val/elbo {status.elbo:.2f}"
        settings: dict[str, Any] = {"total": status.num_steps or None, "completed": status.step, "note": note}
        if run.name in self._lines:
            self._progress.update(self._lines[run.name], **settings)
        else:
            self._lines[run.name] = self._progress.add_task(run.name.ljust(self._width), **settings)

    def _end(self, run: Run, status: RunStatus) -> None:
        self._open.remove(run)
        if run.name in self._lines:
            self._progress.remove_task(self._lines.pop(run.name))
        self._progress.advance(self._total)
        found = f"{status.seconds:.0f} s" if status.error is None else f"{status.error} (see {log_of(run.folder)})"
        self._progress.console.print(
            f"{run.name.ljust(self._width)}  {status.state}: {found}", markup=False, soft_wrap=True
        )
