"""Files that are complete or absent."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from skipvae.callbacks import predictions
from skipvae.cli import generate, text_output
from skipvae.persistence.atomic import atomic_folder, atomic_write, check_output
from skipvae.study.reporting import page
from skipvae.study.reporting.report import save
from tests.command_line import ROOT


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as file:
            file.write("half of the new")
            assert path.read_text() == "old"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_work_keeps_its_message(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^there is no file mine$"), atomic_write(tmp_path / "a.txt"):
        raise FileNotFoundError("there is no file mine")


def test_replaces_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "numbers.txt"
    for text in ("first", "second"):
        with atomic_write(path) as file:
            file.write(text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder"), atomic_write(tmp_path):
        pass
    with pytest.raises(ValueError, match=r"give a name that ends in \.csv or \.npz"):
        check_output(tmp_path / "z.txt", ".csv", ".npz")


def test_the_files_of_a_folder_appear_together(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model"
    for text in ("first", "second"):
        with atomic_folder(path) as folder:
            for name in ("b", "a"):
                (folder / name).write_text(text)
            assert not path.exists() or (path / "a").read_text() == "first"
        assert [(path / name).read_text() for name in "ab"] == [text, text]
        (path / "mine").touch()
    assert {file.name for file in path.iterdir()} == {"a", "b", "mine"}
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_files_of_a_folder_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def fail(path: Path) -> None:
        with atomic_folder(path) as folder:
            (folder / "a").write_text("new")
            raise RuntimeError

    for path in (tmp_path, tmp_path / "deep" / "new"):
        with pytest.raises(RuntimeError):
            fail(path)
    assert (tmp_path / "a").read_text() == "old"
    assert {file.name for file in tmp_path.rglob("*")} == {"a", "deep"}
    with pytest.raises(ValueError, match="a is a file: give the name of a folder"), atomic_folder(tmp_path / "a"):
        pass


def test_links_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    link, device = tmp_path / "link", tmp_path / "device"
    link.symlink_to(tmp_path / "file")
    device.symlink_to("/dev/null")
    for path in (link, device):
        with atomic_write(path) as file:
            file.write("new")
        assert path.is_symlink()
    assert (tmp_path / "file").read_text() == "new"
    assert Path("/dev/null").is_char_device()


WRITERS = {
    "sentences": lambda path: text_output._write(["a sentence"], str(path)),
    "picture": lambda path: generate._write_images(torch.zeros(1, 1, 4, 4), str(path), 1),
    "predictions": lambda path: predictions._write(path, np.zeros((2, 4))),
    "page": lambda path: page.put_on_page(path, "small", "the section"),
    "figure.png": lambda path: save(Figure(), path.with_suffix("")),
    "figure.svg": lambda path: save(Figure(), path.with_suffix("")),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_file_that_was_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = tmp_path / name, Path.open
    path.write_text("old")

    def full(self: Path, mode: str = "r", *args: object, **options: object) -> object:
        if "w" in mode:
            with opened(self, mode):  # as far as a full disk lets one come: there is a file, and nothing in it
                pass
            return opened(Path("/dev/full"), mode, *args, **options)  # type: ignore[call-overload]
        return opened(self, mode, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left on device"):
        WRITERS[name](path)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_figures_whose_names_hold_a_point_do_not_share_a_file(tmp_path: Path) -> None:
    for name in ("images-rate0.01", "images-rate0.001"):
        save(Figure(), tmp_path / name)
    assert {path.name for path in tmp_path.glob("*.png")} == {"images-rate0.01.png", "images-rate0.001.png"}


def test_there_is_no_other_way_of_writing_in_the_package() -> None:
    """A log that grows is no file that could be replaced by half of another."""
    other = re.compile(r"write_text|write_bytes|copyfile\(|\.savefig\((?!file)|np\.save\w*\((?!file|_part)|open\(\"w")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "skipvae").rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if other.search(line) and not path.match("persistence/atomic.py")
    ]
    assert found == []
