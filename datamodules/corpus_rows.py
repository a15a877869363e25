"""Which rows of which source are the splits of a corpus."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.lines import Block, TextSource
from datamodules.randomness import Stream, permutation

SomeRows = NDArray[np.int64]
SPLITS = ("train", "val", "test")


class Part(NamedTuple):
    """A source of text and the splits that it becomes.

    Attributes:
        source: The rows.
        split: The split of all rows that are not drawn for another one.
        drawn: By split, the number or fraction of rows that are drawn for it.
        seed: Of that choice.
    """

    source: TextSource
    split: str
    drawn: Mapping[str, int | float] = {}
    seed: int = 0


class PartRows:
    """All rows of a part, without their texts.

    Args:
        part: The part, which is read once from end to end.
        label_codes: The number of each label that was met so far, in all parts; new ones are added.
        blocks: The blocks of its source.

    Attributes:
        source: Where the texts come from.
        num_lines: Number of lines of the source, empty ones included.
        line_numbers: int64 (N,).
        labels: int32 (N,), numbers by `label_codes`; -1 where there are none.
        rows_of: By split, the indices of its rows in the order in which they make up the split.

    Raises:
        ValueError: If there are too few rows.
    """

    def __init__(self, part: Part, label_codes: dict[str, int], blocks: Iterator[Block]) -> None:
        self.source = part.source
        self.num_lines = 0
        numbers, labels = [], []
        for block in blocks:
            self.num_lines += block.num_lines
            numbers.append(block.line_numbers)
            codes = (label_codes.setdefault(label, len(label_codes)) for label in block.labels or ())
            none = np.full(len(block.texts), -1, np.int32)
            labels.append(none if block.labels is None else np.fromiter(codes, np.int32, len(none)))
        self.line_numbers, self.labels = np.concatenate(numbers), np.concatenate(labels)
        self.rows_of = self._draw(part)

    def __len__(self) -> int:
        return len(self.line_numbers)

    def _draw(self, part: Part) -> dict[str, NDArray[np.int64]]:
        """Random rows for each split, a function of the number of rows and the seed alone."""
        total = len(self)
        if not part.drawn:
            return {part.split: np.arange(total)}
        counts = [round(size * total) if isinstance(size, float) else size for size in part.drawn.values()]
        counts.append(total - sum(counts))
        if min(counts) < 1:
            wanted = ", ".join(map(str, part.drawn.values()))
            raise ValueError(
                f"{part.source.name}: {total} sentences are too few to be split by sizes {wanted}: a part would be "
                "empty; set val_size and test_size, or give files"
            )
        rows = permutation(total, Stream.SPLIT, part.seed).numpy()
        return dict(zip([*part.drawn, part.split], np.split(rows, np.cumsum(counts)[:-1]), strict=True))

    def texts(
        self, blocks: Iterator[Block], splits: Sequence[str] = SPLITS
    ) -> Iterator[tuple[str, SomeRows, list[str]]]:
        """The rows of each block that belong to these splits, with their texts.

        Args:
            blocks: The blocks of the source.
            splits: The splits to look for.

        Returns:
            For each block and split: its name, the indices of the rows, int64 (n,), and the n texts.

        Raises:
            ValueError: If the source has changed since it was read first.
        """
        split_of = np.full(len(self), -1, np.int8)
        for split, rows in self.rows_of.items():
            split_of[rows] = SPLITS.index(split)
        start = 0
        for block in blocks:
            here = split_of[start : start + len(block.texts)]
            if len(here) < len(block.texts):
                raise changed(self.source)
            for split in splits:
                rows = (here == SPLITS.index(split)).nonzero()[0]
                if len(rows):
                    yield split, rows + start, [block.texts[row] for row in rows]
            start += len(block.texts)
        if start < len(self):
            raise changed(self.source)


def changed(source: TextSource) -> ValueError:
    """The user message about a source that became another one while it was read."""
    return ValueError(f"{source.name} was changed while it was read: start again when it is complete")
