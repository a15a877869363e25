"""Files that are either whole or as they were before."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal


@contextmanager
def atomic_write(path: str | Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Opens a file that appears under its name only once it is complete and on disk; folders are made as needed.

    Raises:
        ValueError: if the path is a folder.
        OSError: if it cannot be written; what was there before stays.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "numbers.txt"
        >>> with atomic_write(path) as file:
        ...     _ = file.write("1 2 3")
        >>> path.read_text()
        '1 2 3'
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open(mode, encoding="utf-8" if mode == "w" else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a machine that fails could find the new name with nothing in it
        partial.replace(path)
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # which file it was is what people ask first
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
