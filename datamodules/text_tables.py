"""Columns of text in tables: CSV and TSV, JSON lines, parquet, and data sets of the library `datasets`."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.lines import ROWS, Block, file_key, lines_of
from datamodules.table_files import check_known, parquet_tables
from datamodules.table_stream import delimiter_in, is_parquet, opened_text

HUB = "hf://"
"""Beginning of the name of a data set of the Hugging Face hub."""


TABLES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".pq"})
"""Endings of files of tables."""


class Record(NamedTuple):
    """A row.

    Attributes:
        position: Its line in the file, or its row where there are no lines, counted from 0.
        text: Its text, "" where it is missing; None if there is none that could be used.
        label: Its label, "" where it is missing.
        reason: Why there is no text, or "".
    """

    position: int
    text: str | None
    label: str = ""
    reason: str = ""


class TextTable:
    """A column of text in a table, and another one of labels; rows without text are left out.

    Args:
        path: A CSV, JSON lines or parquet file, plain or gzipped; a folder that `datasets` saved; or hf://NAME.
        text: The column of the text.
        label: The column of the labels.
        split: The split of a data set of several.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If a library is missing, with the command that installs it.
        ValueError: If a column is missing, or a row cannot be used; names its line.
    """

    def __init__(self, path: str | Path, text: str, label: str | None = None, split: str | None = None) -> None:
        self.path, self.text, self.label, self.split = path, text, label, split
        self.name = f"{path} ({split})" if split else str(path)

    def key(self) -> Any:
        where = dataset_key(str(self.path)) if is_dataset(self.path) else file_key(Path(self.path))
        return [where, self.text, self.label, self.split]

    def blocks(self) -> Iterator[Block]:
        start = num_rows = 0
        rows = records(self.path, self.text, self.label, self.split)
        while some := list(islice(rows, ROWS)):
            block = self._block(some, some[-1].position + 1 - start)
            yield block
            start, num_rows = some[-1].position + 1, num_rows + len(block.texts)
        if not num_rows:
            raise ValueError(
                f"{self.name} has no text in {self.text!r}: set data.text_column to the column of the text"
            )

    def _block(self, rows: Sequence[Record], num_lines: int) -> Block:
        for row in rows:
            if row.text is None:
                raise ValueError(f"{self.name}, line {row.position + 1}: {row.reason}")
        full = [row for row in rows if row.text and row.text.strip()]
        for row in full if self.label is not None else ():
            if not row.label:
                raise ValueError(
                    f"{self.name}, line {row.position + 1} has no label in {self.label!r}: give it one, or drop the row"
                )
        labels = None if self.label is None else [row.label for row in full]
        positions = np.fromiter((row.position for row in full), np.int64, len(full))
        return Block([row.text or "" for row in full], labels, positions, num_lines)


def records(
    path: str | Path, text: str, label: str | None = None, split: str | None = None, strict: bool = True
) -> Iterator[Record]:
    """The rows of a table; for the arguments see `TextTable`, and without `strict` the labels may be missing."""
    if is_dataset(path):
        return _rows_of_dataset(str(path), text, label, split, strict)
    file = Path(path)
    file_key(file)  # says which file is missing
    read = _rows_of_parquet if is_parquet(file) else _rows_of_json if _is_json(file) else _rows_of_csv
    return read(file, text, label, strict)


def looks_like_table(path: str | Path) -> bool:
    """Whether a file or folder is one of several columns by its name."""
    return is_dataset(path) or Path(str(path).removesuffix(".gz")).suffix.lower() in TABLES


def has_lines(path: str | Path) -> bool:
    """Whether the rows of a table stand in lines of text; those of parquet files and of data sets do not."""
    return not is_dataset(path) and not (Path(path).is_file() and is_parquet(Path(path)))


def _label_in(path: str | Path, known: Sequence[str], text: str, label: str | None, strict: bool) -> str | None:
    """The column of labels, None if there is none; a ValueError if a column that must be there is missing."""
    for name in (text, *([label] if label is not None and strict else [])):
        check_known(Path(path), known, name)
    return label if label in known else None


def _record(position: int, text: Any, label: Any, name: str) -> Record:
    if text is not None and not isinstance(text, str):
        return Record(position, None, "", f"{name!r} is {str(text)[:40]}, which is no text")
    if text and (reason := flaw(text)):
        return Record(position, None, "", f"{name!r} holds {reason}")
    return Record(position, text or "", "" if label is None else str(label).strip())


def flaw(text: str) -> str:
    """The reason why a text cannot be used, or "".

    Example:
        >>> flaw("a \\ud83d"), flaw("a")
        ('half a surrogate pair', '')
    """
    if "\0" in text:
        return "a NUL byte"
    try:
        text.encode()
    except UnicodeEncodeError:  # of JSON, or of a command line that is not UTF-8
        return "half a surrogate pair"
    return ""


def _is_json(path: Path) -> bool:
    first = next((line for line in lines_of(path) if line.strip()), "")
    if first.lstrip().startswith("[") and path.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        raise ValueError(f"{path} is one JSON array: save it as JSON lines, an object in each line")
    return first.lstrip().startswith("{")


def _rows_of_json(path: Path, text: str, label: str | None, strict: bool) -> Iterator[Record]:
    checked = False
    for position, line in enumerate(lines_of(path)):
        if not line.strip():
            yield Record(position, "")
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            yield Record(position, None, "", f"no JSON: {error}")
            continue
        if not isinstance(found, dict):
            yield Record(position, None, "", "no JSON object")
            continue
        if not checked:
            label, checked = _label_in(path, list(found), text, label, strict), True
        yield _record(position, found.get(text), found.get(label) if label is not None else None, text)


def _rows_of_csv(path: Path, text: str, label: str | None, strict: bool) -> Iterator[Record]:
    with opened_text(path) as file:
        delimiter, lines = delimiter_in(path, file)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        line = 1
        try:
            header = [name.strip() for name in next(reader)]
            label = _label_in(path, header, text, label, strict)
            place, place_of_label = header.index(text), header.index(label) if label is not None else None
            line = reader.line_num + 1
            for cells in reader:
                start, line = line, reader.line_num + 1
                if not cells:
                    yield Record(start - 1, "")
                elif len(cells) != len(header):
                    reason = f"{len(cells)} values where line 1 has {len(header)}, is a value not quoted?"
                    yield Record(start - 1, None, "", reason)
                else:
                    yield _record(
                        start - 1, cells[place], None if place_of_label is None else cells[place_of_label], text
                    )
        except csv.Error as error:
            raise ValueError(f"{path}, line {line} cannot be read, is a quote not closed? ({error})") from error


def _rows_of_parquet(path: Path, text: str, label: str | None, strict: bool) -> Iterator[Record]:
    position = 0
    for table in parquet_tables(path, ROWS, [text, label]):
        label = _label_in(path, list(table.cells), text, label, strict)
        texts = table.cells[text]
        labels = table.texts(label) if label is not None else [None] * len(texts)
        for value, of_label in zip(texts, labels, strict=True):
            yield _record(position, value, of_label, text)
            position += 1


# -- the library datasets ---------------------------------------------------------------------------------------------


def is_dataset(path: str | Path) -> bool:
    """Whether a name is that of a data set of the library `datasets`: a folder, or hf://NAME."""
    return str(path).startswith(HUB) or os.path.isdir(path)  # False of a sentence too long for a name


def dataset_key(path: str) -> Any:
    """Plain values that change when a data set does: its files, or its name where they are not here."""
    if path.startswith(HUB):
        return path
    files = sorted(file for file in Path(path).rglob("*") if file.is_file() and file.suffix in (".arrow", ".json"))
    return [[str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def splits_of_dataset(path: str) -> list[str]:
    """The names of the splits of a data set; empty if it is one alone.

    Raises:
        ModuleNotFoundError: If `datasets` is not installed.
        ValueError: If it cannot be read.
    """
    found = _loaded(path)
    return list(found) if isinstance(found, dict) else []


def _loaded(path: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{path} is read by the library datasets: pip install 'skipvae[data]'") from error
    try:
        if path.startswith(HUB):
            name, _, config = path.removeprefix(HUB).partition(":")
            return datasets.load_dataset(name, config or None)
        return datasets.load_from_disk(path)
    except Exception as error:  # of many kinds, from many layers
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} cannot be read by the library datasets: {reason}") from error


def _rows_of_dataset(path: str, text: str, label: str | None, split: str | None, strict: bool) -> Iterator[Record]:
    found = _loaded(path)
    if isinstance(found, dict):
        if split not in found:
            raise ValueError(f"{path} has the splits {', '.join(found)} and no {split}")
        found = found[split]
    label = _label_in(path, list(found.column_names), text, label, strict)
    names = getattr(found.features[label], "names", None) if label is not None else None
    columns = found.select_columns([text] if label is None else [text, label])
    for position, row in enumerate(columns):
        of_label = None if label is None else row[label]
        if names and isinstance(of_label, int) and 0 <= of_label < len(names):
            of_label = names[of_label]
        yield _record(position, row[text], of_label, text)
