"""Files of codes, the posteriors of many inputs: CSV, .npz or parquet; written and read in pieces of any number."""

import csv
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from datamodules.table_stream import columns_of, stream_table
from skipvae.persistence.atomic import atomic_write, check_output

ENDINGS = (".csv", ".npz", ".parquet")
AT_A_TIME = 10_000
"""Codes that are in memory together."""

Columns = Mapping[str, Sequence[Any] | NDArray[Any]]
"""Some rows by column: text, integers (-1 for none), or floats (N,) or (N, K), NaN for none."""


class CodeWriter(Protocol):
    """Writes rows to a file that appears once it is complete."""

    def write(self, columns: Columns) -> None:
        """Adds rows; the same columns each time."""


def open_codes(path: str | Path) -> AbstractContextManager[CodeWriter]:
    """A writer of a file of codes, by its ending.

    Raises:
        ValueError: if it has another ending.
        ModuleNotFoundError: if it is parquet, and pyarrow is not installed.
    """
    writers: dict[str, Callable[[Path], AbstractContextManager[CodeWriter]]]
    writers = {".csv": _open_csv, ".npz": _open_npz, ".parquet": _open_parquet}
    return writers[check_output(path, *ENDINGS).suffix.lower()](Path(path))


def flat(columns: Columns) -> dict[str, Sequence[Any] | NDArray[Any]]:
    """Matrices as columns: mean (N, K) as mean_0 ... mean_{K-1}."""
    parts: dict[str, Sequence[Any] | NDArray[Any]] = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim == 2:
            parts |= {f"{name}_{k}": values[:, k] for k in range(values.shape[1])}
        else:
            parts[name] = values
    return parts


class _CSV:
    def __init__(self, file: IO[str]) -> None:
        self._table, self._names = csv.writer(file, lineterminator="\n"), list[str]()

    def write(self, columns: Columns) -> None:
        parts = flat(columns)
        if not self._names:
            self._names = list(parts)
            self._table.writerow(self._names)
        self._table.writerows(zip(*map(_texts, parts.values()), strict=True))


def _texts(values: Sequence[Any] | NDArray[Any]) -> list[str]:
    """Text of each value; the nine digits of floats give back the same float32."""
    if not isinstance(values, np.ndarray):
        return [str(value) for value in values]
    if values.dtype.kind == "f":
        return ["" if value != value else f"{value:.9g}" for value in values.tolist()]
    return ["" if value < 0 else str(value) for value in values.tolist()]


@contextmanager
def _open_csv(path: Path) -> Iterator[_CSV]:
    with atomic_write(path) as file:
        yield _CSV(file)


class _NPZ:
    """Columns in temporary files without a name, text in JSON, until their lengths are known."""

    def __init__(self, open_file: Callable[[], IO[bytes]]) -> None:
        self._open, self._files = open_file, dict[str, IO[bytes]]()
        self._kinds: dict[str, tuple[Any, tuple[int, ...]]] = {}
        self._length, self._width = 0, dict[str, int]()

    def write(self, columns: Columns) -> None:
        for name, values in columns.items():
            if name not in self._files:
                self._files[name] = self._open()
                self._kinds[name] = (getattr(values, "dtype", None), getattr(values, "shape", (0,))[1:])
            if isinstance(values, np.ndarray):
                self._files[name].write(np.ascontiguousarray(values).tobytes())
            else:
                self._width[name] = max(self._width.get(name, 1), *map(len, values))
                self._files[name].writelines(json.dumps(value).encode() + b"\n" for value in values)
        self._length += len(next(iter(columns.values())))

    def pack(self, target: IO[bytes]) -> None:
        """Writes all columns as arrays."""
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, file in self._files.items():
                dtype, shape = self._kinds[name]
                kind = np.dtype(dtype) if dtype is not None else np.dtype(("U", self._width[name]))
                header = {"descr": kind.str, "fortran_order": False, "shape": (self._length, *shape)}
                file.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_2_0(member, header)
                    if dtype is None:
                        for line in file:
                            member.write(np.array([json.loads(line)], kind).tobytes())
                    else:
                        while part := file.read(1 << 20):
                            member.write(part)


@contextmanager
def _open_npz(path: Path) -> Iterator[_NPZ]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        writer = _NPZ(lambda: files.enter_context(tempfile.TemporaryFile(dir=path.parent)))
        try:
            yield writer
        except OSError as error:
            if error.filename is not None or error.errno is None:  # of another file, or with a message of its own
                raise
            raise OSError(error.errno, error.strerror, str(path)) from None  # the temporary files have no name
        with atomic_write(path, "wb") as file:
            writer.pack(file)


class _Parquet:
    def __init__(self, pa: Any, parquet: Any, file: IO[bytes]) -> None:
        self._pa, self._parquet, self._file = pa, parquet, file
        self.writer: Any = None

    def write(self, columns: Columns) -> None:
        arrays = {}
        for name, values in flat(columns).items():
            none = None
            if isinstance(values, np.ndarray):
                none = np.isnan(values) if values.dtype.kind == "f" else values < 0
            arrays[name] = self._pa.array(values, mask=none)
        table = self._pa.table(arrays)
        if self.writer is None:
            self.writer = self._parquet.ParquetWriter(self._file, table.schema)
        self.writer.write_table(table)


@contextmanager
def _open_parquet(path: Path) -> Iterator[_Parquet]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} is parquet, which needs pyarrow: pip install 'skipvae[table]', or write .csv or .npz"
        ) from error
    with atomic_write(path, "wb") as file:
        content = _Parquet(pa, parquet, file)
        yield content
        if content.writer is not None:
            content.writer.close()


def read_codes(path: str, latent_dim: int) -> Iterator[NDArray[np.float64]]:
    """The latent vectors of a file, in pieces (n, K); NaN where a row has none.

    Args:
        path: CSV or parquet with columns mean_0 ... mean_{K-1}, or z_0 ... z_{K-1}; or .npz or .npy with an array mean
            or z, (N, K).
        latent_dim: K of the model.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has no codes of this size.
    """
    if Path(path).suffix.lower() in (".npz", ".npy"):
        codes = _array(path)
        if codes.ndim != 2 or codes.shape[1] != latent_dim:
            raise ValueError(f"{path} holds codes {codes.shape}, and the model needs (N, {latent_dim})")
        yield from (codes[start : start + AT_A_TIME].astype(np.float64) for start in range(0, len(codes), AT_A_TIME))
        return
    names = columns_of(path)
    kind = next((kind for kind in ("mean", "z") if f"{kind}_0" in names), None)
    if kind is None:
        raise ValueError(f"{path} has no columns mean_0, mean_1, ... or z_0, z_1, ...: take a file by skipvae encode")
    size = sum(name.startswith(f"{kind}_") and name.removeprefix(f"{kind}_").isdigit() for name in names)
    if size != latent_dim:
        raise ValueError(f"{path} holds codes of {size} dimensions, and the model has {latent_dim}")
    rows: list[Any] = []
    for _, values, _ in stream_table(path, [f"{kind}_{k}" for k in range(latent_dim)]):
        rows.append(np.full(latent_dim, np.nan) if isinstance(values, str) else values)
        if len(rows) == AT_A_TIME:
            yield np.stack(rows)
            rows = []
    if rows:
        yield np.stack(rows)


def _array(path: str) -> NDArray[Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}: give codes, as by skipvae encode")
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            name = next((name for name in ("mean", "z") if name in found.files), None)
            if name is None:
                raise ValueError("it has no array mean or z")
            return np.asarray(found[name])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
