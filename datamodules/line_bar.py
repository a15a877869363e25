"""The progress bar of reading many lines."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.progress import Progress

from datamodules.lines import Block

LARGE = 100_000
"""Lines from which on the work takes longer than moments."""


class LineBar:
    """A progress bar that is shown as soon as there are many lines; a context manager.

    Example:
        >>> with LineBar() as bar:
        ...     bar.start("reading", 2)
        ...     [block.num_lines for block in bar.count(iter([]))]
        []
    """

    def __init__(self) -> None:
        self._progress = Progress(transient=True)
        self._task = self._progress.add_task("")
        self._seen = 0

    def start(self, what: str, total: int | None = None) -> None:
        """Begin with another pass over the lines, the number of which may be unknown."""
        self._progress.reset(self._task, total=total, description=what)

    def count(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """The same blocks, which are counted as they pass."""
        for block in blocks:
            yield block
            self._seen += block.num_lines
            if self._seen >= LARGE:
                self._progress.start()
            self._progress.advance(self._task, block.num_lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._progress.stop()
