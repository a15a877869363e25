import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from datamodules import files
from datamodules.files import PublishedFile, download, verify

CONTENT = b"some data"
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., str]:
    """A function that publishes bytes at an address of this machine."""

    def publish(name: str, content: bytes = CONTENT) -> str:
        (tmp_path / "server").mkdir(exist_ok=True)
        (tmp_path / "server" / name).write_bytes(content)
        return (tmp_path / "server" / name).as_uri()

    return publish


def test_verify_names_the_file_and_both_sums(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    verify(path, MD5)
    path.write_bytes(CONTENT + b".")
    with pytest.raises(ValueError, match="damaged") as error:
        verify(path, MD5)
    assert str(path) in str(error.value)
    assert MD5 in str(error.value)
    assert hashlib.md5(CONTENT + b".").hexdigest() in str(error.value)


def test_download_makes_the_folder_and_takes_the_first_mirror_that_works(
    tmp_path: Path, published: Callable[..., str]
) -> None:
    urls = [(tmp_path / "nothing").as_uri(), published("wrong", b"other data"), published("right")]
    download(tmp_path / "a" / "b", [PublishedFile("file", MD5, urls)])
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "a" / "b").iterdir()] == [("file", CONTENT)]


def test_a_failed_download_leaves_nothing_and_says_what_to_put_where(
    tmp_path: Path, published: Callable[..., str]
) -> None:
    folder = tmp_path / "data"
    absent = [PublishedFile("first", MD5, [published("wrong", b"other")]), PublishedFile("second", MD5, [])]
    with pytest.raises(FileNotFoundError, match="put first, second into") as error:
        download(folder, absent)
    assert str(folder) in str(error.value)
    assert "not the published one" in str(error.value)
    assert "\n" not in str(error.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("failure", [URLError("no network"), TimeoutError("timed out"), ConnectionResetError("reset")])
def test_without_a_network_every_mirror_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Any) -> None:
    def urlopen(*args: Any, **kwargs: Any) -> None:
        raise failure

    monkeypatch.setattr(files, "urlopen", urlopen)
    with pytest.raises(FileNotFoundError, match=r"put file into .* \(https://a/file: .*; https://b/file: .*\)"):
        download(tmp_path, [PublishedFile("file", MD5, ["https://a/file", "https://b/file"])])


def test_a_file_that_is_there_stays_when_another_cannot_be_had(tmp_path: Path, published: Callable[..., str]) -> None:
    with pytest.raises(FileNotFoundError, match="put second into"):
        download(tmp_path / "x", [PublishedFile("first", MD5, [published("f")]), PublishedFile("second", MD5, [])])
    assert (tmp_path / "x" / "first").read_bytes() == CONTENT
