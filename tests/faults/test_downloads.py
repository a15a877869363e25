"""Downloads that break off, come wrong or come twice at once; what is not what was published is never used."""

import gzip
import hashlib
import io
import os
import random
import signal
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from datamodules import YahooDataModule, corpora
from datamodules.files import PublishedFile, download
from tests.faults.conftest import Inject
from tests.faults.processes import Child

CONTENT = random.Random(0).randbytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
TEXTS = {f"yahoo.{part}.txt": f"{part} of the text\n".encode() * 20 for part in ("train", "valid", "test")}


def archive(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A .tar.gz file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)  # the same in every process


YAHOO = archive({f"yahoo-answer-100k/{name}": content for name, content in TEXTS.items()})


class Server(BaseHTTPRequestHandler):
    """Serves well or badly, as the address says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        kind = self.path.strip("/")
        content = YAHOO if kind == "yahoo.tar.gz" else CONTENT
        if kind == "error":
            self.send_error(500)
            return
        if kind == "loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        if kind != "unlimited":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if kind == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if kind in ("partial", "unlimited"):
            content = content[: len(content) // 2]
        if kind == "slow":
            for start in range(0, len(content), 10_000):
                self.wfile.write(content[start : start + 10_000])
                time.sleep(0.01)
        elif kind != "empty":
            self.wfile.write(content)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("kind", ["partial", "wrong", "empty", "unlimited", "error", "loop"])
def test_what_is_not_the_published_file_is_never_used(tmp_path: Path, address: str, inject: Inject, kind: str) -> None:
    with inject("download that is cut short, wrong or refused"):
        (tmp_path / "earlier").write_bytes(b"whole")
        file = PublishedFile("file", MD5, [f"{address}/{kind}"])
        with pytest.raises(FileNotFoundError, match=f"put file into {tmp_path}") as error:
            download(tmp_path, [file])
        assert "\n" not in str(error.value)
        assert [path.name for path in tmp_path.iterdir()] == ["earlier"]
        download(tmp_path, [file._replace(urls=[f"{address}/{kind}", f"{address}/good"])])
        assert (tmp_path / "file").read_bytes() == CONTENT


def fetch(address: str, start: float) -> None:
    """Downloads a file at a moment that several processes have agreed on."""
    time.sleep(max(0.0, start - time.time()))
    download(Path("cache"), [PublishedFile("file", MD5, [f"{address}/slow"])])
    assert Path("cache/file").read_bytes() == CONTENT


def fetch_yahoo(address: str, start: float) -> None:
    """The same for an archive that is unpacked."""
    pretend(address)
    time.sleep(max(0.0, start - time.time()))
    data = YahooDataModule("cache")
    data.prepare_data()
    assert [sum(len(block.texts) for block in part.source.blocks()) for part in data.parts()] == [20, 20, 20]


def pretend(address: str, content: bytes = YAHOO) -> None:
    """The archive of this test passes for the published one."""
    md5 = hashlib.md5(content).hexdigest()
    corpora.YAHOO_ARCHIVE = PublishedFile("yahoo.tar.gz", md5, [f"{address}/yahoo.tar.gz"])
    YahooDataModule.files = {
        name.split(".")[1]: PublishedFile(name, hashlib.md5(text).hexdigest(), []) for name, text in TEXTS.items()
    }


@pytest.mark.parametrize("what", [fetch, fetch_yahoo])
@pytest.mark.parametrize("rounds", [1, pytest.param(8, marks=pytest.mark.faults)])
def test_processes_that_start_together_on_an_empty_folder(
    tmp_path: Path, address: str, inject: Inject, what: Any, rounds: int
) -> None:
    with inject("processes download to one empty folder at once", runs=4 * rounds):
        for number in range(rounds):
            start = time.time() + 0.2
            folder = tmp_path / str(number)
            children = [Child(what, address, start, folder=folder, said=f"said_{i}.txt") for i in range(4)]
            for child in children:
                child.done()
            assert not list((folder / "cache").rglob(".*"))


@pytest.mark.parametrize("runs", [3, pytest.param(30, marks=pytest.mark.faults)])
def test_a_download_that_is_killed_leaves_nothing_under_its_name(
    tmp_path: Path, address: str, inject: Inject, runs: int
) -> None:
    moment = random.Random(0)
    with inject("SIGKILL during a download", runs=runs):
        for number in range(runs):
            folder = tmp_path / str(number)
            child = Child(fetch, address, 0.0, folder=folder)
            assert child.wait_for("cache")
            time.sleep(moment.uniform(0, 0.35))
            child.kill()
            found = folder / "cache/file"
            assert not found.exists() or found.read_bytes() == CONTENT
            if found.exists():
                assert child.process.exitcode in (0, -signal.SIGKILL)
            Child(fetch, address, 0.0, folder=folder).done()


HOSTILE = {
    "../../evil": b"evil",
    "/tmp/skipvae-evil": b"evil",
    "yahoo-answer-100k/../../evil": b"evil",
    **{f"yahoo-answer-100k/{name}": content for name, content in TEXTS.items()},
}


def test_an_archive_cannot_write_outside_its_folder(
    tmp_path: Path, address: str, inject: Inject, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = archive(HOSTILE, {"yahoo-answer-100k/link": "/etc", "yahoo-answer-100k/up": "../../.."})
    with inject("archive with paths and links that lead outside"):
        monkeypatch.setattr("tests.faults.test_downloads.YAHOO", hostile)
        monkeypatch.setattr(corpora, "YAHOO_ARCHIVE", corpora.YAHOO_ARCHIVE)
        monkeypatch.setattr(YahooDataModule, "files", YahooDataModule.files)
        pretend(address, hostile)
        data = YahooDataModule(str(tmp_path / "data"))
        data.prepare_data()
        names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
        assert names == sorted(f"data/yahoo100k/{name}" for name in TEXTS)
        assert not Path("/tmp/skipvae-evil").exists()


def read_only(address: str) -> None:
    """Downloads to a folder that cannot be written."""
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    with pytest.raises(FileNotFoundError, match=r"put file into .*Permission denied"):
        download(Path("cache"), [PublishedFile("file", MD5, [f"{address}/good"])])
    assert os.listdir("cache") == ["earlier"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, address: str, inject: Inject) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "earlier").write_bytes(b"whole")
    tmp_path.chmod(0o755)  # so that other users reach the folder within
    cache.chmod(0o555)
    with inject("download to a folder that is read-only"):
        Child(read_only, address, folder=tmp_path).done()
    cache.chmod(0o755)


def full(address: str) -> None:
    """Downloads to a disk that is full."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    with pytest.raises(FileNotFoundError, match=r"put file into .*File too large"):
        download(Path("cache"), [PublishedFile("file", MD5, [f"{address}/good"])])
    assert os.listdir("cache") == ["earlier"]


def test_a_full_disk_is_named(tmp_path: Path, address: str, inject: Inject) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/earlier").write_bytes(b"whole")
    with inject("disk full while a file is downloaded"):
        Child(full, address, folder=tmp_path).done()
