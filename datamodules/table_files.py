"""Files of tables: CSV (comma, semicolon, tab or bar between values) and parquet, read column by column."""

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_warn

from datamodules.text_stream import read_text

DELIMITERS = ("\t", ";", "|", ",")
"""In the order in which they are tried: a comma may stand in numbers, too."""
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""Values that say that there is none, in lower case."""
ADVICE = "give a CSV or parquet file with a row for each example"
SAMPLE = 50
"""Lines that decide on the delimiter."""

Numbers = NDArray[np.float64]
"""Where values are missing NaN; of parquet also integers, of columns without missing values."""


class TableFile(NamedTuple):
    """A table as it stands in its file.

    Attributes:
        path: The file.
        cells: By the name of a column its N values: text, or numbers where the file has types.
        lines: The line of each row in its file, counted from 1; None for a file without lines.
    """

    path: Path
    cells: dict[str, Sequence[str] | Numbers]
    lines: Sequence[int] | None

    def numbers(self, name: str, decimal: str = ".") -> Numbers:
        """The numbers of a column, float64 (N,), NaN where they are missing.

        Raises:
            ValueError: If a value is no number, or infinite; names its line.
        """
        cells = self.cells[name]
        try:
            if decimal != "." and not isinstance(cells, np.ndarray):
                raise ValueError("each has to be looked at")
            values = np.array(cells, dtype=np.float64)
        except ValueError:
            values = np.array([self._number(name, row, str(cell), decimal) for row, cell in enumerate(cells)])
        if np.isinf(values).any():
            row = int(np.argmax(np.isinf(values)))
            raise ValueError(f"{self.where(row)}: {name!r} is infinite: correct it, or {_leave_out(name)}")
        return values

    def texts(self, name: str) -> list[str]:
        """The values of a column as text, "" where they are missing; numbers in one spelling."""
        cells = self.cells[name]
        texts = cells if isinstance(cells, np.ndarray) else [str(cell).strip() for cell in cells]
        try:
            return [_one_spelling(text) if text else "" for text in _known(texts)]
        except ValueError:
            return list(_known(texts))

    def where(self, row: int) -> str:
        """The file and the position of a row in it, for messages."""
        return f"{self.path}, " + (f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}")

    def _number(self, name: str, row: int, cell: str, decimal: str) -> float:
        text = cell.strip()
        if text.lower() in MISSING:
            return np.nan
        try:
            if decimal != "." and "." in text:
                raise ValueError("the other decimal point")
            return float(text.replace(decimal, "."))
        except ValueError:
            self._refuse(name, row, text, decimal)

    def _refuse(self, name: str, row: int, text: str, decimal: str) -> NoReturn:
        other = "," if decimal == "." else "."
        if re.fullmatch(rf"[+-]?\d*\{other}\d+", text):
            advice = f"if that is a decimal number, set data.decimal to {other!r}"
        else:
            advice = f"if it is a class, set data.label to {name!r}, else {_leave_out(name)}"
        raise ValueError(f"{self.where(row)}: {name!r} is {_short(text)}, which is no number: {advice}")


def _leave_out(name: str) -> str:
    return f"leave the column out, as by data.exclude [{name}]"


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _known(texts: Any) -> Iterator[str]:
    return ("" if str(text).lower() in MISSING else str(text) for text in texts)


def _one_spelling(number: str) -> str:
    """The same for 1, 1.0 and 1e0; whole numbers keep all their digits. A ValueError for what is no number."""
    return str(int(number)) if re.fullmatch(r"[+-]?\d+", number) else f"{float(number):.15g}"


def read_table(path: str | Path, delimiter: str | None = None) -> TableFile:
    """Reads a table; the kind of a file is found by its content.

    A CSV file is UTF-8 with or without a byte order mark, may be gzipped, and may quote values. Its first line has the
    names of the columns, unless all of it are numbers: then they are called column_1, column_2, ... Empty lines are
    passed over, and columns without a name are left out, with a warning.

    Args:
        path: The file.
        delimiter: Between the values of a CSV file; found by its first lines if not given.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If it is parquet, and pyarrow is not installed.
        ValueError: If it is no table: empty, another kind of file, with rows of different lengths or two columns of one
            name; names the line.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: {ADVICE}")
    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    if not parquet and path.suffix.lower() in (".parquet", ".pq"):
        raise ValueError(f"{path} is no parquet file, or damaged: replace it by an intact copy")
    if parquet and delimiter is not None:
        raise ValueError(f"data.delimiter is for CSV files, but {path} is parquet: leave it out")
    table = _read_parquet(path) if parquet else _read_csv(path, delimiter)
    if not len(next(iter(table.cells.values()), ())):
        raise ValueError(f"{path} has no rows: {ADVICE}")
    return table


def _read_csv(path: Path, delimiter: str | None) -> TableFile:
    text = read_text(path, ADVICE, "save it as CSV or parquet")
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter or "", delimiter) or delimiter_of(text)
    if len(delimiter) != 1:
        raise ValueError(f"data.delimiter is {delimiter!r}: give one character, or tab")
    rows, lines = _rows(path, text, delimiter)
    header, start = [name.strip() for name in rows[0]], 1
    numbers = [name for name in header if is_number(name)]
    if len(numbers) == len(header):
        header, start = [f"column_{number}" for number in range(1, len(header) + 1)], 0
    elif numbers:
        rank_zero_warn(
            f"{path}: line 1 is read as the names of the columns, though {', '.join(numbers[:3])} "
            f"{'are numbers' if len(numbers) > 1 else 'is a number'}: if it is a row, put a line of names above it"
        )
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            cause = ": a quote in it is not closed" if any("\n" in cell for cell in row) else ""
            fix = "" if cause else f": quote a value that contains {delimiter!r}, or set data.delimiter to another one"
            raise ValueError(f"{path}, line {line} has {len(row)} values, but line 1 has {len(header)}{cause or fix}")
    columns = zip(*rows[start:], strict=True) if len(rows) > start else ([] for _ in header)
    return TableFile(path, _named(path, header, list(columns)), lines[start:])


def _rows(path: Path, text: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """The rows that are not empty, and the line that each begins at."""
    rows, lines, line = [], [], 1
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=delimiter != "\t")
    try:
        for row in reader:
            if len(row) > 1 or "".join(row).strip():
                rows.append(row)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:  # a field of more than 128 KiB
        raise ValueError(f"{path}, line {line} cannot be read, is a quote not closed? ({error})") from error
    return rows, lines


def delimiter_of(text: str) -> str:
    """The first one that cuts the first lines into equally many values, else the first in the first line."""
    lines = [line for line in text.split("\n", SAMPLE)[:SAMPLE] if line.strip()]
    for delimiter in DELIMITERS:
        try:
            widths = {len(row) for row in csv.reader(lines, delimiter=delimiter)}
        except csv.Error:  # reading all of it will say where
            continue
        if len(widths) == 1 and min(widths) > 1:
            return delimiter
    return next((delimiter for delimiter in DELIMITERS if delimiter in lines[0]), ",")


def is_number(text: str) -> bool:
    """Whether a value is a number and not missing."""
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return text.lower() not in MISSING


def _named(path: Path, names: Sequence[str], columns: Sequence[Any]) -> dict[str, Any]:
    """The columns by name, without those that have none.

    Raises:
        ValueError: If a name occurs twice.
    """
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: two columns are called {twice!r}: rename one")
    unnamed = [number for number, name in enumerate(names, 1) if not name]
    if unnamed:
        rank_zero_warn(f"{path}: column {', '.join(map(str, unnamed))} has no name and is left out")
    return {name: column for name, column in zip(names, columns, strict=True) if name}


def _read_parquet(path: Path) -> TableFile:
    return next(parquet_tables(path, None))


def parquet_tables(
    path: Path, num_rows: int | None, columns: Sequence[str | None] | None = None
) -> Iterator[TableFile]:
    """The content of a parquet file as tables of num_rows rows at most, or as one.

    Args:
        path: The file.
        num_rows: The most rows of a table; None for all.
        columns: Those that are read, None among them left out; all if not given, or if one is missing.

    Raises:
        ModuleNotFoundError: If pyarrow is not installed.
        ValueError: If the file is damaged.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} is parquet, which needs pyarrow: pip install 'skipvae[table]', or save it as CSV"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            wanted = list(dict.fromkeys(name for name in columns or () if name is not None))
            read = wanted if wanted and {*wanted} <= {*file.schema_arrow.names} else None
            batches = file.iter_batches(num_rows, columns=read) if num_rows is not None else ()
            tables = (pa.Table.from_batches([batch]) for batch in batches) if num_rows is not None else [file.read()]
            for table in tables:
                # an index that pandas wrote has no name of its own
                names = ["" if str(name).startswith("__index_level_") else str(name) for name in table.column_names]
                columns = [_cells(pa, column) for column in table.columns]
                yield TableFile(path, _named(path, names, columns), None)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read, is it damaged? {' '.join(str(error).split())[:200]}") from error


def _cells(pa: Any, column: Any) -> Any:
    """Numbers, NaN where they are missing, or text."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_integer(column.type) and not column.null_count:
        return np.asarray(column.to_numpy())  # labels need all digits
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    return ["" if cell is None else str(cell) for cell in column.to_pylist()]


def check_known(path: Path, known: Collection[str], name: str) -> None:
    """Raise a ValueError if a table has no column of that name."""
    if name not in known:
        near = get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(list(known)[:10])}"
        raise ValueError(f"{path} has no column {name!r}: {meant}")
