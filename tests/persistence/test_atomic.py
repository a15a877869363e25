"""Files that are whole or absent."""

from pathlib import Path

import pytest

from skipvae.persistence.atomic import atomic_write


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
