"""Arrays that are prepared once and read through a memory map from then on, whole or not at all."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

VERSION = 1
"""Of what is stored; a change in it is a new version."""
SCRATCH = ".preparing-"
"""Start of the names of folders that are being written."""
ABANDONED_AFTER = 24 * 3600.0
"""Seconds without a write after which the process that was writing such a folder has been killed."""


def cache_folders(beside: Path, asked: str | None) -> list[Path]:
    """Where prepared files may lie: in the folder asked for, else beside the data, else in the user's cache."""
    if asked is not None:
        return [Path(asked).expanduser()]
    return [beside, Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skipvae")]


def key_of(content: Any) -> str:
    """A name for what is prepared from this content (plain values) and by these options."""
    return sha256(json.dumps([VERSION, content], sort_keys=True).encode()).hexdigest()[:16]


def find(folders: Sequence[Path], name: str) -> Path | None:
    """The prepared folder of that name, in the first folder that has it."""
    return next((folder / name for folder in folders if (folder / name).is_dir()), None)


def prepare(folders: Sequence[Path], name: str, write: Callable[[Path], None]) -> Path:
    """The prepared folder of that name; made by `write(folder)` if there is none.

    It is written under another name and renamed: whoever looks for it finds all of it or nothing. Of two processes that
    prepare the same at once, the second finds the first one's and drops its own. What a killed process has left is
    removed by the next one, a day later.

    Raises:
        OSError: if it can be written nowhere; names each folder and what was wrong.
    """
    found = find(folders, name)
    if found is not None:
        return found
    failures = []
    for folder in folders:
        scratch = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder)
            scratch = Path(tempfile.mkdtemp(dir=folder, prefix=SCRATCH))
            write(scratch)
            try:
                scratch.rename(folder / name)
            except OSError:
                if not (folder / name).is_dir():
                    raise
            return folder / name
        except OSError as error:
            failures.append(f"{folder}: {error}")
        finally:
            if scratch is not None and scratch.exists():
                shutil.rmtree(scratch, ignore_errors=True)
    raise OSError(f"no folder for prepared data, set cache_dir to one ({'; '.join(failures)})")


def _remove_abandoned(folder: Path) -> None:
    for scratch in folder.glob(f"{SCRATCH}*"):
        with suppress(OSError):  # another process has renamed it
            last_write = max(path.stat().st_mtime for path in (scratch, *scratch.iterdir()))
            if time.time() - last_write > ABANDONED_AFTER:
                shutil.rmtree(scratch, ignore_errors=True)
