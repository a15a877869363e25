"""Disks that are full or cannot be written, and runs that want the same folder."""

import errno
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from skipvae.callbacks.run_logger import RunLogger
from tests.command_line import error_of
from tests.faults.conftest import Inject
from tests.faults.processes import Child
from tests.faults.test_kills import SAVING, assert_nothing_lost, assert_whole, finish, straight
from tests.faults.work import IMAGES, QUIET, RUNS, command, train
from tests.same_run import assert_same_run


def full_disk(limit: int, *args: str) -> None:
    """No file can grow over `limit` bytes from now on, which the system reports as an error, as it does a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    command(*args)


def test_a_full_disk_is_one_line_and_the_earlier_checkpoint_stays(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, inject: Inject
) -> None:
    wanted = straight("images", tmp_path_factory)
    with inject("disk full while a checkpoint is written"):
        Child(train, "images", [*SAVING, "--trainer.max_epochs=1"], folder=tmp_path).done()
        last = tmp_path / RUNS / "version_0/checkpoints/last.ckpt"
        before = last.read_bytes()
        args = ["fit", "--ckpt_path", str(last), *QUIET, "--trainer.max_epochs=3"]
        child = Child(full_disk, len(before) // 2, *args, folder=tmp_path)
        assert child.wait() == 2, child.said
        error = child.said.splitlines()[-1]
        assert error.startswith("skipvae: error: ")
        assert os.strerror(errno.EFBIG) in error
        assert str(last) in error
        assert "Traceback" not in child.said
        assert last.read_bytes() == before
        finish(tmp_path, "images")
        assert_nothing_lost(tmp_path, wanted)


def no_space(*args: str) -> None:
    """Checkpoints meet a device without space from the third on."""
    opened, count = Path.open, [0]

    def open_full(self: Path, mode: str = "r", **options: object) -> object:
        if ".ckpt." in self.name and self.name.endswith(".partial"):
            count[0] += 1
            if count[0] > 2:
                return opened(Path("/dev/full"), mode, **options)  # type: ignore[call-overload]
        return opened(self, mode, **options)  # type: ignore[call-overload]

    Path.open = open_full  # type: ignore[assignment,method-assign]
    command(*args)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_space_left_is_named(tmp_path: Path, inject: Inject) -> None:
    with inject("no space left on device"):
        child = Child(no_space, "fit", *IMAGES, "--trainer.max_epochs=3", folder=tmp_path)
        assert child.wait() == 2, child.said
        assert os.strerror(errno.ENOSPC) in child.said.splitlines()[-1]
        assert "Traceback" not in child.said
        assert_whole(tmp_path)
        saved = torch.load(tmp_path / RUNS / "version_0/checkpoints/last.ckpt", weights_only=True)
        assert saved["global_step"] == 4


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach too."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(*args: str) -> None:
    """Without the rights of root, who may write anywhere."""
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    command(*args)


def others_can_read(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


@pytest.mark.skipif(
    os.geteuid() == 0 and not all(map(others_can_read, (Path(sys.prefix), Path.cwd()))),
    reason="root may write anywhere, and other users cannot read this installation",
)
def test_a_folder_that_cannot_be_written_is_one_line(open_folder: Path, inject: Inject) -> None:
    open_folder.chmod(0o555)
    with inject("folder of the runs is read-only"):
        said = open_folder / "said.txt"
        if os.geteuid() == 0:
            said.touch()
        child = Child(as_nobody_in, str(open_folder), "fit", *IMAGES, folder=Path(tempfile.mkdtemp()))
        assert child.wait() == 2, child.said
        assert os.strerror(errno.EACCES) in child.said.splitlines()[-1]
        assert "lightning_logs" in child.said.splitlines()[-1]
        assert "Traceback" not in child.said
        assert not (open_folder / "lightning_logs").exists()
    open_folder.chmod(0o755)


def as_nobody_in(folder: str, *args: str) -> None:
    """As `as_nobody`, in another folder than the one that output goes to."""
    os.chdir(folder)
    as_nobody(*args)


# -- two runs at once -------------------------------------------------------------------------------------------------


def claim(start: float) -> None:
    """Asks for the folder of a new run at a moment that several processes have agreed on."""
    time.sleep(max(0.0, start - time.time()))
    logger = RunLogger("lightning_logs", name="same")
    assert logger.version is not None  # asked for before the folder is made, as trainers do
    assert logger.experiment
    Path(f"mine_{os.getpid()}.txt").write_text(logger.log_dir)


def test_runs_that_start_together_have_folders_of_their_own(tmp_path: Path, inject: Inject) -> None:
    rounds, at_once = 5, 4
    with inject("runs of one name start at the same moment", runs=rounds * at_once):
        for _ in range(rounds):
            start = time.time() + 0.3
            children = [Child(claim, start, folder=tmp_path) for _ in range(at_once)]
            for child in children:
                child.done()
        folders = [path.read_text() for path in tmp_path.glob("mine_*.txt")]
        assert len(set(folders)) == len(folders) == rounds * at_once


@pytest.mark.faults
def test_two_trainings_that_start_together_are_both_whole(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, inject: Inject
) -> None:
    wanted = straight("images", tmp_path_factory)
    with inject("trainings of one name start at the same moment", runs=2):
        args = ["fit", *IMAGES, *SAVING, "--trainer.max_epochs=3"]
        children = [Child(command, *args, folder=tmp_path, said=f"said_{number}.txt") for number in range(2)]
        for child in children:
            child.done()
        for run in ("version_0", "version_1"):
            assert_same_run(
                tmp_path / RUNS / run / "checkpoints/last.ckpt",
                wanted.folder / RUNS / "version_0/checkpoints/last.ckpt",
            )


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "$UP/evil", ".."])
def test_the_name_of_a_run_cannot_leave_the_folder(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, inject: Inject, name: str
) -> None:
    monkeypatch.setenv("UP", "..")
    with inject("run name that leads elsewhere"):
        (workspace / "inside").mkdir()
        monkeypatch.chdir(workspace / "inside")
        said = error_of(capsys, "fit", *IMAGES, f"--name={name}")
        assert "would lie outside of lightning_logs" in said
        assert sorted(path.name for path in workspace.rglob("*")) == ["inside"]
        said = error_of(capsys, "fit", *IMAGES, f"--version={name}")
        assert "would lie outside of lightning_logs" in said
