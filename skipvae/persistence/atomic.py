"""Atomic writing of files and folders: a file is either complete or as it was before."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal


@contextmanager
def atomic_write(path: str | Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Opens a file that appears under its name only once it is complete and on disk; folders are made as needed.

    A link stays a link: the file that it names is replaced. Devices and pipes are written to directly.

    Raises:
        ValueError: if the path is a folder.
        OSError: if it cannot be written; an earlier file stays.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "numbers.txt"
        >>> with atomic_write(path) as file:
        ...     _ = file.write("1 2 3")
        >>> path.read_text()
        '1 2 3'
    """
    path = check_output(path)
    encoding = "utf-8" if mode == "w" else None
    if path.exists() and not path.is_file():  # a device or a pipe: a file must not take its place
        with path.open(mode, encoding=encoding) as file:
            yield file
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open(mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a machine that fails could find the new name with nothing in it
        partial.replace(path)
    except OSError as error:
        if error.filename is not None or error.errno is None:  # of another file, or with a message of its own
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # names the file
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields a new folder, whose files appear in the folder `path` once all of them are complete and on disk.

    A new `path` appears at once; in one that exists, files of the same names are replaced one after the other, in the
    order in which they were written, and others stay.

    Raises:
        ValueError: if the path is a file.
        OSError: if it cannot be written; earlier files stay.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new"
        >>> with atomic_folder(path) as folder:
        ...     _ = (folder / "numbers.txt").write_text("1 2 3")
        >>> (path / "numbers.txt").read_text()
        '1 2 3'
    """
    path = Path(os.path.abspath(path))
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file: give the name of a folder")
    beside = path if path.is_dir() else path.parent  # on the same disk
    beside.mkdir(parents=True, exist_ok=True)
    partial = beside / f".{path.name}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        files = sorted(partial.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        for file in files:
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if path.is_dir():
            for file in files:
                file.replace(path / file.name)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_output(path: str | Path, *suffixes: str) -> Path:
    """The path, if a file can have this name; to be called before the work, not after it.

    Args:
        path: of the file to be written.
        suffixes: the endings that it can have, lower case; any if none are given.

    Raises:
        ValueError: if the path is a folder, or ends in something else.

    Example:
        >>> check_output("samples.PNG", ".png").name
        'samples.PNG'
        >>> check_output("samples.jpg", ".png")
        Traceback (most recent call last):
            ...
        ValueError: samples.jpg cannot be written: give a name that ends in .png
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file")
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{path} cannot be written: give a name that ends in {' or '.join(suffixes)}")
    return path
