"""What a study shows while it runs: a line for each point at work, and one for each that ended."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from skipvae.study.plan import Point
from skipvae.study.status import Record, log_of

INTERVAL = 0.5
"""Seconds between two looks at the run folders."""


def open_console() -> Console:
    """Writes to where standard output goes now, even once that is sent to the log of a point."""
    try:
        file: TextIO = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    except OSError:  # not a real file: a notebook, or a test
        file = sys.stdout
    return Console(file=file, highlight=False, width=None if file.isatty() else 160)


@contextmanager
def watched(points: Sequence[Point], console: Console) -> Iterator[None]:
    """Follows the run folders of points for the time of the block, whichever process and machine is at work on them."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    stop = threading.Event()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        board = _Board(points, progress)

        def follow() -> None:
            while not stop.wait(INTERVAL):
                board.update()

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            stop.set()
            follower.join()
            board.update()


class _Board:
    """The display: what is known of each point, and the lines of those at work."""

    def __init__(self, points: Sequence[Point], progress: Progress) -> None:
        self._open, self._progress = list(points), progress
        self._width = max(len(point.name) for point in points)
        self._lines: dict[str, TaskID] = {}
        self._total = progress.add_task("runs".ljust(self._width), total=len(points), note="")

    def update(self) -> None:
        """Looks at the run folders of all points that have not ended."""
        for point in self._open.copy():
            record = Record.read(point.folder)
            if record.state in ("training", "testing"):
                self._show(point, record)
            elif record.state in ("finished", "failed"):
                self._end(point, record)

    def _show(self, point: Point, record: Record) -> None:
        note = record.state if record.elbo is None else f"{record.state}, val/elbo {record.elbo:.2f}"
        settings: dict[str, Any] = {"total": record.num_steps or None, "completed": record.step, "note": note}
        if point.name in self._lines:
            self._progress.update(self._lines[point.name], **settings)
        else:
            self._lines[point.name] = self._progress.add_task(point.name.ljust(self._width), **settings)

    def _end(self, point: Point, record: Record) -> None:
        self._open.remove(point)
        if point.name in self._lines:
            self._progress.remove_task(self._lines.pop(point.name))
        self._progress.advance(self._total)
        found = f"{record.seconds:.0f} s" if record.error is None else f"{record.error} (see {log_of(point.folder)})"
        self._progress.console.print(
            f"{point.name.ljust(self._width)}  {record.state}: {found}", markup=False, soft_wrap=True
        )
