"""Arrays that are prepared once and read through a memory map from then on, whole or not at all."""

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pytorch_lightning.utilities import rank_zero_info

VERSION = 1
"""Of what is stored; a change in it is a new version."""
SCRATCH = ".preparing-"
"""Start of the names of folders that are being written."""
ABANDONED_AFTER = 24 * 3600.0
"""Seconds without a write after which the process that was writing such a folder has been killed."""

UNWRITABLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ENOTDIR,
    errno.EEXIST,
}
"""The errors of a folder that cannot be written, or a disk that is full; another folder may do."""


def cache_folders(beside: Path | None, asked: str | None) -> list[Path]:
    """Where prepared files may lie: in the folder asked for, else beside the data if it has one, else in the cache."""
    if asked is not None:
        return [Path(asked).expanduser()]
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skipvae")
    return [users] if beside is None else [beside, users]


def key_of(content: Any) -> str:
    """A name for what is prepared from this content (plain values) and by these options."""
    return sha256(json.dumps([VERSION, content], sort_keys=True).encode()).hexdigest()[:16]


def find(folders: Sequence[Path], name: str) -> Path | None:
    """The prepared folder of that name, in the first folder that has it."""
    return next((folder / name for folder in folders if (folder / name).is_dir()), None)


def prepare(folders: Sequence[Path], name: str, write: Callable[[Path], None]) -> Path:
    """The prepared folder of that name; made by `write(folder)` if there is none.

    It is written under another name and renamed: whoever looks for it finds all of it or nothing. Of processes that
    prepare the same at once, one does it and the others wait for it. What a killed one has left is removed by the next
    that prepares the same, or by any other a day later.

    Raises:
        OSError: if it can be written nowhere; names each folder and what was wrong.
    """
    found = find(folders, name)
    if found is not None:
        return found
    failures = []
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _lock(folder, name):
                return find([folder], name) or _write(folder, name, write)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            failures.append(f"{folder}: {error}")
    raise OSError(f"no folder for prepared data, set cache_dir to one ({'; '.join(failures)})")


def _remove_abandoned(folder: Path, name: str) -> None:
    for scratch in folder.glob(f"{SCRATCH}*"):
        with suppress(OSError):  # another process has renamed it
            last_write = max(path.stat().st_mtime for path in (scratch, *scratch.iterdir()))
            if scratch.name.startswith(f"{SCRATCH}{name}-") or time.time() - last_write > ABANDONED_AFTER:
                shutil.rmtree(scratch, ignore_errors=True)


def _write(folder: Path, name: str, write: Callable[[Path], None]) -> Path:
    _remove_abandoned(folder, name)
    scratch = Path(tempfile.mkdtemp(dir=folder, prefix=f"{SCRATCH}{name}-"))
    try:
        write(scratch)
        try:
            scratch.rename(folder / name)
        except OSError:
            if not (folder / name).is_dir():
                raise
        return folder / name
    finally:
        if scratch.exists():
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _lock(folder: Path, name: str) -> Iterator[None]:
    """Only one process at a time; one that is killed leaves no lock."""
    path = folder / f".{name}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        rank_zero_info(f"another process prepares {folder / name}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: who waits for it looks again for what it was held for
        lock.release()
