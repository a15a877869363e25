"""Published files: checked by their md5, and downloaded completely or not at all."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

from pytorch_lightning.utilities import rank_zero_info


class PublishedFile(NamedTuple):
    """A file's name, its checksum, and the addresses that it can be downloaded from."""

    name: str
    md5: str
    urls: Sequence[str]


def md5_of(path: Path) -> str:
    """The md5 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def verify(path: Path, md5: str) -> None:
    """Raise ValueError, naming the file and both sums, unless its md5 is the one published."""
    if (found := md5_of(path)) != md5:
        raise ValueError(
            f"{path} is damaged (md5 {found}, published {md5}): delete it, or replace it by an intact copy"
        )


def download(folder: Path, files: Sequence[PublishedFile]) -> None:
    """Download files into a folder; each appears there only when it is complete and intact.

    Raises:
        FileNotFoundError: If one cannot be downloaded from any address; says which files to put where.
    """
    for file in files:
        failures = []
        for url in file.urls:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
                    _download_one(url, Path(scratch, file.name), file.md5)
                    os.replace(Path(scratch, file.name), folder / file.name)
                break
            except (OSError, HTTPException) as error:
                failures.append(f"{url}: {' '.join(str(error).split())}")  # some have several lines
        else:
            raise missing(folder, files, "; ".join(failures))


def _download_one(url: str, path: Path, md5: str) -> None:
    rank_zero_info(f"downloading {url}")
    request = Request(url, headers={"User-Agent": "skipvae"})  # some servers refuse urllib's own name
    with urlopen(request, timeout=30) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file)
    if (found := md5_of(path)) != md5:
        raise OSError(f"the downloaded file is not the published one (md5 {found}, published {md5})")


def missing(folder: Path, files: Sequence[PublishedFile], reason: str) -> FileNotFoundError:
    """The error for files that are not in their folder."""
    absent = ", ".join(file.name for file in files if not (folder / file.name).exists())
    return FileNotFoundError(f"put {absent} into {folder.absolute()} ({reason})")
