"""Rows of text in blocks, with a label for each or for none: what a corpus is prepared from."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from datamodules.formats import SAMPLE, LabelCheck, check_is_no_document, check_is_prose
from datamodules.text_stream import SENTENCES, read_text, text_blocks

ROWS = 20_000
"""Rows of a block of texts that are in memory anyway."""


class Block(NamedTuple):
    """Consecutive sentences or documents of a source.

    Attributes:
        texts: The sentences or documents, none of them empty.
        labels: The label of each, or None.
        line_numbers: The line of each in its file, int64 (n,), counted from 0.
        num_lines: Number of lines of the file that were read for them, empty ones included.
    """

    texts: list[str]
    labels: list[str] | None
    line_numbers: NDArray[np.int64]
    num_lines: int


class TextSource(Protocol):
    """Rows of text that can be read again and again."""

    @property
    def name(self) -> str:
        """The name for messages."""

    def key(self) -> Any:
        """Plain values that change whenever the rows do; found without reading them."""

    def blocks(self) -> Iterator[Block]:
        """All rows in order; a ValueError, at the latest at their end, if they cannot be used."""


class TextFile:
    """A text file of one sentence or document a line; empty lines are left out.

    Args:
        path: The text file.
        label_file: A file with the label of each line.
        labelled: Whether each line is `label<TAB>text`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is empty, no text of one document a line or not UTF-8, or labels and lines do not match.
    """

    def __init__(self, path: str | Path, label_file: str | Path | None = None, labelled: bool = False) -> None:
        self.path, self.label_file, self.labelled = Path(path), label_file, labelled
        self.name = str(path)

    def key(self) -> Any:
        return [file_key(self.path), self.label_file and file_key(Path(self.label_file)), self.labelled]

    def blocks(self) -> Iterator[Block]:
        labels_of_file = None if self.label_file is None else lines_of(self.label_file)
        check = LabelCheck(self.path)
        head: list[str] = []
        last, start, num_rows = "", 0, 0
        for lines, is_last in _marked(text_blocks(self.path)):
            if not head:
                head = lines[: 2 * SAMPLE]
                check_is_prose(self.path, head, self.labelled)
            last = next((line for line in reversed(lines) if line.strip()), last)
            if is_last:
                check_is_no_document(self.path, head, last, partial(read_text, self.path))
            labels = None
            if self.labelled:
                lines, labels = self._separate(lines, start)
            elif labels_of_file is not None:
                labels = [label.strip() for label in islice(labels_of_file, len(lines))]
                if len(labels) != len(lines) or (is_last and next(labels_of_file, None) is not None):
                    raise self._mismatch()
            block = self._full(lines, labels, start)
            if labels is not None and self.labelled:
                check.add(block.labels or (), block.texts)
            yield block
            start, num_rows = start + len(lines), num_rows + len(block.texts)
        if not num_rows:
            raise ValueError(f"{self.path} has {'labels, but ' if self.labelled else ''}no text: {SENTENCES}")
        check.finish()

    def _separate(self, lines: Sequence[str], start: int) -> tuple[list[str], list[str]]:
        texts, labels = [], []
        for number, line in enumerate(lines, start + 1):
            label, tab, text = line.partition("\t")
            if not tab and line.strip():
                raise ValueError(
                    f"{self.path}, line {number} has no label: write label<TAB>text, or set labelled to false"
                )
            texts.append(text)
            labels.append(label.strip())
        return texts, labels

    def _mismatch(self) -> ValueError:
        num_labels, num_lines = (sum(1 for _ in lines_of(path)) for path in (self.label_file or "", self.path))
        return ValueError(
            f"{self.label_file} has {num_labels} labels, but {self.path} has {num_lines} lines: give one each"
        )

    def _full(self, texts: list[str], labels: list[str] | None, start: int) -> Block:
        """The block of the lines that hold text; start is the number of lines before them."""
        num_lines = len(texts)
        full = np.fromiter(map(bool, map(str.strip, texts)), bool, num_lines)
        rows = full.nonzero()[0]
        if len(rows) < num_lines:
            texts = [texts[row] for row in rows]
            labels = labels and [labels[row] for row in rows]
        if labels is not None and not all(labels):
            line = start + int(rows[labels.index("")]) + 1
            raise ValueError(
                f"{self.label_file or self.path}, line {line} has an empty label: give it one, or drop the line"
            )
        return Block(texts, labels, rows + start, num_lines)


class TextInMemory:
    """Texts that are in memory, or made there.

    Args:
        name: Of the corpus, for messages.
        key: Plain values that say what the texts are.
        load: Makes the N texts and the label of each.
    """

    def __init__(self, name: str, key: Any, load: Callable[[], tuple[list[str], list[str]]]) -> None:
        self.name, self._key, self._load = name, key, cache(load)

    def key(self) -> Any:
        return [self.name, self._key]

    def blocks(self) -> Iterator[Block]:
        texts, labels = self._load()
        for start in range(0, len(texts), ROWS):
            part = slice(start, start + ROWS)
            numbers = np.arange(len(texts))[part]
            yield Block(texts[part], labels[part], numbers, len(numbers))


def lines_of(path: str | Path) -> Iterator[str]:
    """The lines of a UTF-8 file; see `text_blocks` for what is refused."""
    return (line for text in text_blocks(path) for line in text.removesuffix("\n").split("\n"))


def file_key(path: Path) -> Any:
    """Plain values that change when a file does: its name, size, time, and the beginning and end of its content.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: {SENTENCES}")
    status = path.stat()
    with path.open("rb") as file:
        digest = sha256(file.read(1 << 16))
        file.seek(max(0, status.st_size - (1 << 16)))
        digest.update(file.read(1 << 16))
    return [path.name, status.st_size, status.st_mtime_ns, digest.hexdigest()]


def _marked(texts: Iterator[str]) -> Iterator[tuple[list[str], bool]]:
    """The lines of each block of text, and whether it is the last."""
    following = next(texts, None)
    while following is not None:
        text, following = following, next(texts, None)
        yield text.removesuffix("\n").split("\n"), following is None
