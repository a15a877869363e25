"""Rows of a table one after the other, for tables of any length; rows that cannot be used come with the reason."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from datamodules.table_files import ADVICE, MISSING, SAMPLE, check_known, delimiter_of, is_number, parquet_tables

Row = tuple[int | None, NDArray[np.float64] | str, str]
"""Its line counted from 1 (in a file without lines, its row), its values (D,) or why there are none, and its label."""


ROWS = 10_000
"""Rows of a parquet file that are in memory together."""


def stream_table(
    path: str, names: Sequence[str], label: str | None = None, delimiter: str | None = None, decimal: str = "."
) -> Iterator[Row]:
    """The rows of a CSV file (plain, gzipped, or with other delimiters) or of a parquet file.

    Args:
        path: The file.
        names: The D columns.
        label: A column of classes; passed over where the file has none of this name.
        delimiter: Between the values of a CSV file; found if not given.
        decimal: The decimal point of a CSV file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no table, or a column is missing.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {path}: {ADVICE}")
    if is_parquet(file):
        yield from _parquet_rows(file, names, label)
        return
    with opened_text(file) as text:
        yield from _stream(file, text, names, label, delimiter, decimal)


@contextmanager
def opened_text(path: Path) -> Iterator[IO[str]]:
    """A text file in UTF-8, plain or gzipped, as the module csv wants it.

    Raises:
        ValueError: If what is read of it turns out to be damaged, or in another encoding.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        content = cast(IO[bytes], gzip.GzipFile(fileobj=file) if packed else file)
        with io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as text:
            try:
                yield text
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                raise ValueError(f"{path} is no text, or not UTF-8 (0x{byte:02x}): convert the file") from error
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ValueError(f"{path} is damaged ({error}): replace it by an intact copy") from error


def columns_of(path: str) -> list[str]:
    """The names of the columns of a CSV or parquet file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is empty or damaged.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {path}: {ADVICE}")
    if is_parquet(file):
        table = next(parquet_tables(file, 1), None)
        if table is None:
            raise ValueError(f"{path} has no rows: {ADVICE}")
        return list(table.cells)
    with opened_text(file) as text:
        delimiter, lines = delimiter_in(file, text)
        return next(csv.reader(lines, delimiter=delimiter))


def delimiter_in(path: Path, text: IO[str]) -> tuple[str, Iterator[str]]:
    """The delimiter of a CSV file by its first lines, and all lines.

    Raises:
        ValueError: If there are none.
    """
    first = list(islice(text, SAMPLE))
    if not any(line.strip() for line in first):
        raise ValueError(f"{path} is empty: {ADVICE}")
    return delimiter_of("".join(first)), chain(first, text)


def is_parquet(path: Path) -> bool:
    """Whether a file is a parquet file."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _parquet_rows(path: Path, names: Sequence[str], label: str | None) -> Iterator[Row]:
    row = 0
    for table in parquet_tables(path, ROWS, [*names, label]):
        for name in names:
            check_known(path, table.cells, name)
        labels = table.texts(label) if label in table.cells and label is not None else None
        columns = [list(map(str, table.cells[name])) for name in names]
        for number, cells in enumerate(zip(*columns, strict=True)):
            yield row, _values(names, cells, "."), labels[number] if labels is not None else ""
            row += 1


def _stream(
    path: Path, text: IO[str], names: Sequence[str], label: str | None, delimiter: str | None, decimal: str
) -> Iterator[Row]:
    found, lines = delimiter_in(path, text)
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter or "", delimiter) or found
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if len(cells) <= 1 and not "".join(cells).strip():
                continue
            if header is None:
                header = [name.strip() for name in cells]
                headless = all(map(is_number, header))
                if headless:
                    header = [f"column_{number}" for number in range(1, len(header) + 1)]
                for name in names:
                    check_known(path, header, name)
                places = [header.index(name) for name in names]
                of_label = header.index(label) if label in header else None
                if not headless:
                    continue
            if len(cells) != len(header):
                yield start, f"{len(cells)} values where line 1 has {len(header)}", ""
                continue
            text_of_label = "" if of_label is None else cells[of_label].strip()
            yield start, _values(names, [cells[place] for place in places], decimal), text_of_label
    except csv.Error as error:  # a field of more than 128 KiB
        raise ValueError(f"{path}, line {line} cannot be read, is a quote not closed? ({error})") from error


def _values(names: Sequence[str], cells: Sequence[str], decimal: str) -> NDArray[np.float64] | str:
    """The numbers of a row (D,), or why there are none."""
    values = np.empty(len(cells))
    for column, cell in enumerate(cells):
        text = cell.strip()
        if text.lower() in MISSING:
            return f"{names[column]!r} is missing"
        try:
            if decimal != "." and "." in text:
                raise ValueError("the other decimal point")
            values[column] = float(text.replace(decimal, "."))
        except ValueError:
            return f"{names[column]!r} is {text[:40]!r}, which is no number"
        if not np.isfinite(values[column]):
            return f"{names[column]!r} is {text}"
    return values
