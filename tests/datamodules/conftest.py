"""Data of published form, for the tests of more than one file."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules.files import PublishedFile
from datamodules.omniglot_sources import FILES, FOLDERS
from tests.datamodules.omniglot_files import WRITERS


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny files of each variant."""
    folder = tmp_path_factory.mktemp("sources")
    for variant, write in WRITERS.items():
        (folder / variant).mkdir()
        write(folder / variant)
    return folder


@pytest.fixture
def put(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A function that puts a variant's files into a data folder and lets them pass for the official ones."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def put_variant(variant: str) -> Path:
        folder = tmp_path / "data" / FOLDERS[variant]
        folder.mkdir(parents=True, exist_ok=True)
        known = []
        for path in sorted((sources / variant).iterdir()):
            (folder / path.name).write_bytes(path.read_bytes())
            known.append(PublishedFile(path.name, hashlib.md5(path.read_bytes()).hexdigest(), []))
        assert {file.name for file in known} == {file.name for file in FILES[variant]}
        monkeypatch.setitem(FILES, variant, known)
        return folder

    return put_variant
