"""Text files of one sentence or document a line, plain or gzipped, with or without labels."""

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from datamodules.formats import check_is_prose, check_is_text, check_labels, encoding_of
from datamodules.randomness import Stream, permutation


class Lines(NamedTuple):
    """Sentences or documents, and a label for each, or for none.

    Attributes:
        texts: The N sentences or documents.
        labels: The label of each, or None.
        line_numbers: The line of each in its file, int64 (N,), counted from 0; None if all lines are there.
    """

    texts: list[str]
    labels: list[str] | None = None
    line_numbers: Tensor | None = None

    def take(self, rows: Tensor) -> Self:
        """The lines at these indices, int64 (n,)."""
        chosen = rows.tolist()
        labels = None if self.labels is None else [self.labels[row] for row in chosen]
        line_numbers = rows if self.line_numbers is None else self.line_numbers[rows]
        return type(self)([self.texts[row] for row in chosen], labels, line_numbers)

    def split(self, *sizes: int | float, seed: int = 0) -> list[Self]:
        """Random parts of these sizes, counts or fractions, and at last the rest; a function of the seed alone.

        Raises:
            ValueError: If a part would be empty.
        """
        total = len(self.texts)
        counts = [round(size * total) if isinstance(size, float) else size for size in sizes]
        counts.append(total - sum(counts))
        if min(counts) < 1:
            wanted = ", ".join(map(str, sizes))
            raise ValueError(f"{total} sentences are too few to be split by sizes {wanted}: a part would be empty")
        rows = permutation(total, Stream.SPLIT, seed)
        return [self.take(part) for part in torch.split(rows, counts)]


SENTENCES = "give a file of one sentence or document a line"
"""The advice about a file that is no such text."""


def read_bytes(path: Path, advice: str = SENTENCES) -> bytes:
    """The content of a file, unpacked if it is gzipped.

    Text is compressed to about a tenth; one that unpacks to over a hundred times its size is made to fill the memory.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is a damaged gzip file, or one that unpacks to far more than text does.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: {advice}")
    try:
        with path.open("rb") as file:
            packed = path.suffix == ".gz" or file.read(2) == b"\x1f\x8b"
        if not packed:
            return path.read_bytes()
        limit = 1_000_000 + 100 * path.stat().st_size
        with gzip.open(path) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f"{path} unpacks to over a hundred times its size, which no text does: unpack it yourself")
        return content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is no gzip file, or damaged ({error}): replace it by an intact copy") from error


def read_text(path: str | Path, advice: str = SENTENCES, of_another_kind: str | None = None) -> str:
    """The text of a UTF-8 file, plain or gzipped, with LF as the end of each line.

    Args:
        path: The file.
        advice: What to give instead, where it is absent or empty.
        of_another_kind: What to do where it is no text; by default how to make sentences of it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is empty, damaged, no text, or not UTF-8; names the line and the byte.
    """
    content = read_bytes(Path(path), advice)
    if not content.strip():
        raise ValueError(f"{path} is empty: {advice}")
    check_is_text(path, content, of_another_kind)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = error.start - content.rfind(b"\n", 0, error.start)
        raise ValueError(
            f"{path}, line {line}, byte {byte}: 0x{content[error.start]:02x} is not UTF-8; "
            f"convert the file, as by iconv -f {encoding_of(content)} -t utf-8"
        ) from error
    # not splitlines(), which also splits at characters that may occur within a line
    text = text.replace("\r\n", "\n")
    if "\n" not in text:
        text = text.replace("\r", "\n")  # of an old Mac
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}, line {line} holds a NUL byte: the file is damaged; replace it by an intact copy")
    return text


def read_lines(path: str | Path) -> list[str]:
    """The lines of a UTF-8 file; see `read_text` for what is refused."""
    return read_text(path).removesuffix("\n").split("\n")


def read_corpus(path: str | Path, label_file: str | Path | None = None, labelled: bool = False) -> Lines:
    """The sentences of a file with their labels; empty lines are left out, counted and reported.

    Args:
        path: The text file.
        label_file: A file with the label of each line.
        labelled: Whether each line is `label<TAB>text`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is empty, no text of one document a line or not UTF-8, or labels and lines do not match.
    """
    texts, labels = read_lines(path), None
    check_is_prose(path, texts, labelled)
    if labelled:
        texts, labels = _separate(path, texts)
    elif label_file is not None:
        labels = [label.strip() for label in read_lines(label_file)]
        if len(labels) != len(texts):
            raise ValueError(f"{label_file} has {len(labels)} labels, but {path} has {len(texts)} lines: give one each")
    for number, (label, text) in enumerate(zip(labels or (), texts, strict=bool(labels)), 1):
        if text.strip() and not label:
            raise ValueError(f"{label_file or path}, line {number} has an empty label: give it one, or drop the line")
    full = torch.tensor([bool(text.strip()) for text in texts])
    if not full.all():
        rank_zero_info(f"{path}: {int((~full).sum())} of {len(texts)} lines are empty and left out")
        if not full.any():
            raise ValueError(f"{path} has labels, but no text: give a file of one sentence or document a line")
    lines = Lines(texts, labels).take(full.nonzero().squeeze(1))
    if labelled and lines.labels is not None:
        check_labels(path, lines.labels, lines.texts)
    return lines


def _separate(path: str | Path, lines: Sequence[str]) -> tuple[list[str], list[str]]:
    texts, labels = [], []
    for number, line in enumerate(lines, 1):
        label, tab, text = line.partition("\t")
        if not tab and line.strip():
            raise ValueError(f"{path}, line {number} has no label: write label<TAB>text, or set labelled to false")
        texts.append(text)
        labels.append(label.strip())
    return texts, labels
