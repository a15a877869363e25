"""Files that are either whole or absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[str]]:
    """Opens a text file that appears under its name only once it is complete; folders are made as needed.

    Raises:
        ValueError: if the path is a folder.

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
        with partial.open("w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
