"""What is prepared lies there whole or not at all, whoever else prepares it, and however it ends."""

import errno
import logging
import os
import time
from pathlib import Path
from threading import Event, Thread

import pytest
from filelock import FileLock

from datamodules.prepared import cache_folders, prepare


def nothing(folder: Path) -> None:
    raise AssertionError("there was nothing to be done")


def test_what_is_interrupted_leaves_nothing_and_what_was_killed_is_removed(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([tmp_path], "name", interrupted)
    assert list(tmp_path.iterdir()) == []
    for name, age in (("name-killed", 60), ("other-killed", 2 * 86400), ("other-writing", 60)):
        left = tmp_path / f".preparing-{name}"
        left.mkdir()
        (left / "half").touch()
        for path in (left / "half", left):
            os.utime(path, (time.time() - age,) * 2)
    (tmp_path / ".name.lock").touch()  # a killed process leaves the file, but not the lock
    folder = prepare([tmp_path], "name", lambda folder: (folder / "whole").touch())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".preparing-other-writing", "name"]
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert prepare([tmp_path], "name", nothing) == folder


def test_who_comes_second_waits_for_the_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun, end = Event(), Event()

    def slow(folder: Path) -> None:
        begun.set()
        assert end.wait(60)
        (folder / "first").touch()

    caplog.set_level(logging.INFO)
    found: list[Path] = []
    first, second = (
        Thread(target=lambda write=write: found.append(prepare([tmp_path], "name", write))) for write in (slow, nothing)
    )
    first.start()
    assert begun.wait(60)
    second.start()
    while "another process prepares" not in caplog.text:
        second.join(0.01)
        assert second.is_alive()
    end.set()
    for thread in (first, second):
        thread.join()
    assert found == [tmp_path / "name"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert not FileLock(tmp_path / ".name.lock").is_locked


def test_a_folder_that_cannot_be_written_is_passed_over_and_other_errors_are_not(tmp_path: Path) -> None:
    folders = [tmp_path / "full", tmp_path / "good"]

    def write(folder: Path) -> None:
        (folder / "half").touch()
        if folder.parent.name == "full":
            raise OSError(errno.ENOSPC, "No space left on device")

    assert prepare(folders, "name", write) == folders[1] / "name"
    assert list(folders[0].iterdir()) == []
    with pytest.raises(OSError, match=r"set cache_dir to one \(.*full: .*No space left on device\)"):
        prepare(folders[:1], "name", write)

    def unreadable(folder: Path) -> None:
        raise FileNotFoundError("there is no file text.txt")

    with pytest.raises(FileNotFoundError, match="there is no file text"):
        prepare(folders, "other", unreadable)


def test_where_prepared_files_may_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folders(Path("data"), None) == [Path("data"), tmp_path / "skipvae"]
    assert cache_folders(None, None) == [tmp_path / "skipvae"]
    assert cache_folders(Path("data"), "asked") == [Path("asked")]
