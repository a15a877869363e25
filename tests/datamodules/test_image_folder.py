"""A folder of pictures becomes splits, once, whole or not at all."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.image_folder import ImageFolderDataModule

Make = Callable[..., Path]


@pytest.fixture
def pictures(tmp_path: Path) -> Make:
    """Writes pictures of one grey level each, named by it, into subfolders."""

    def make(**levels_of: range) -> Path:
        root = tmp_path / "pictures"
        for folder, levels in levels_of.items():
            where = root / folder.replace("_", "/")
            where.mkdir(parents=True, exist_ok=True)
            for level in levels:
                Image.new("L", (9, 7 + level % 3), level).save(where / f"{level}.png")
        return root

    return make


def loaded(root: Path, **options: Any) -> ImageFolderDataModule:
    data = ImageFolderDataModule(str(root), **{"image_size": 8, "batch_size": 2, **options})
    data.prepare_data()
    data.setup()
    return data


def levels(data: ImageFolderDataModule) -> list[list[int]]:
    assert data.splits is not None
    return [sorted(split.images[:, 0, 4, 4].tolist()) for split in data.splits]


def everything(data: ImageFolderDataModule) -> list[int]:
    return sorted(level for split in levels(data) for level in split)


def test_classes_are_labels_and_splits_share_no_picture(pictures: Make) -> None:
    root = pictures(cats=range(0, 50), dogs=range(100, 150))
    data = loaded(root, val_fraction=0.2, test_fraction=0.1)
    assert (data.image_shape, data.label_names) == ((1, 8, 8), ["cats", "dogs"])
    expected, error = np.array([70, 20, 10]), np.sqrt(100 * np.array([0.7 * 0.3, 0.2 * 0.8, 0.1 * 0.9]))
    assert (np.abs([len(part) for part in levels(data)] - expected) < 3 * error).all()
    assert everything(data) == [*range(0, 50), *range(100, 150)]
    assert data.splits is not None
    assert [int(Path(name).stem) for name in data.test_files] == data.splits.test.images[:, 0, 4, 4].tolist()
    for split in data.splits:
        assert torch.equal(split.labels, (split.images[:, 0, 0, 0] >= 100).long())
    again, other = loaded(root, val_fraction=0.2, test_fraction=0.1), loaded(root, split_seed=1)
    assert levels(again) == levels(data)
    assert levels(other)[2] != levels(data)[2]
    x, _ = next(iter(data.train_dataloader()))
    assert x.shape == (2, 1, 8, 8)
    assert torch.equal(x[:, 0, 0, 0], x[:, 0, 7, 7])


def test_a_picture_that_is_added_moves_no_other_one(pictures: Make) -> None:
    root = pictures(a=range(0, 200, 2))
    before = levels(loaded(root))
    for level in range(1, 200, 2):
        Image.new("L", (9, 9), level).save(root / "a" / f"{level}.png")
    after = levels(loaded(root))
    assert [[level for level in part if level % 2 == 0] for part in after] == before
    assert all(any(level % 2 for level in part) for part in after)


@pytest.mark.parametrize("spelling", [str, str.upper])
def test_folders_of_splits_are_kept_and_missing_ones_drawn_from_training(spelling: Any, pictures: Make) -> None:
    of_splits = {"train/a": range(0, 20), "train/b": range(20, 40), "test/a": range(50, 55)}
    of_splits = {spelling(name[:-1]) + name[-1]: levels for name, levels in of_splits.items()}
    root = pictures(**of_splits, other=range(90, 99))
    with pytest.warns(UserWarning, match=r"9 pictures, such as other/90.png, are in none of the folders train, test"):
        data = loaded(root)
    train, val, test = levels(data)
    assert test == [*range(50, 55)]
    assert 1 <= len(val) <= 10
    assert sorted(train + val) == [*range(40)]
    assert data.label_names == ["a", "b"]


def test_pictures_that_are_in_two_splits_are_counted(pictures: Make) -> None:
    root = pictures(train=range(20), test=range(30, 35))
    assert loaded(root).split_facts["test"]["duplicate_fraction"] == 0
    shutil.copy(root / "train" / "3.png", root / "test" / "copied.png")
    facts = loaded(root, val_fraction=0.05).split_facts["test"]
    assert facts["duplicate_fraction"] == pytest.approx(1 / 6)


def test_classes_that_are_numbers_are_in_their_order(pictures: Make) -> None:
    assert loaded(pictures(**{"9": range(5), "10": range(5, 10)})).label_names == ["9", "10"]


def test_without_subfolders_or_with_one_class_there_are_no_labels(pictures: Make) -> None:
    for root in (pictures(**{"": range(10)}), pictures(only=range(10, 20))):
        data = loaded(root)
        assert data.label_names == []
        assert data.splits is not None
        assert (data.splits.train.labels == -1).all()


def test_pictures_are_read_once_and_anew_when_they_change(pictures: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pictures(a=range(10), b=range(10, 20))
    first = loaded(root)
    with monkeypatch.context() as patch:
        patch.setattr("datamodules.image_folder.read_pictures", lambda *_: pytest.fail("read again"))
        assert levels(loaded(root)) == levels(first)
    Image.new("L", (9, 9), 200).save(root / "a" / "new.png")
    assert 200 in everything(loaded(root))
    assert loaded(root, image_size=[4, 6]).image_shape == (1, 4, 6)
    assert len(list((root / ".skipvae").iterdir())) == 3


def test_other_processes_read_the_same_pictures(pictures: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pictures(a=range(30), b=range(30, 60))
    (root / "a" / "broken.png").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="broken"):
        here = everything(loaded(root))
    monkeypatch.setattr("datamodules.image_folder.MANY", 1)
    shutil.rmtree(root / ".skipvae")
    with pytest.warns(UserWarning, match=r"1 of 61 pictures .* a/broken.png \(cannot identify"):
        assert everything(loaded(root)) == here


def test_a_folder_that_cannot_be_written_uses_the_cache(
    pictures: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pictures(a=range(10))
    (root / ".skipvae").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    loaded(root)
    assert list((tmp_path / "cache" / "skipvae").glob("images-*"))
    asked = tmp_path / "asked"
    loaded(root, cache_dir=str(asked))
    assert list(asked.glob("images-*"))
    with pytest.raises(OSError, match="set cache_dir to one"):
        loaded(root, cache_dir=str(root / "a" / "0.png"))


def test_unreadable_pictures_are_counted_and_named(pictures: Make) -> None:
    root = pictures(a=range(10), b=range(10, 20))
    (root / "a" / "broken.png").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match=r"1 of 21 pictures .* a/broken.png \(cannot identify"):
        data = loaded(root)
    assert everything(data) == [*range(20)]
    with pytest.warns(UserWarning, match="broken.png"):  # also where nothing is read again
        loaded(root)


def test_links_to_nothing_are_unreadable_and_links_to_folders_above_are_left_out(pictures: Make) -> None:
    root = pictures(a=range(10), b=range(10, 20))
    (root / "a" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "b" / "up").symlink_to(root)
    with pytest.warns(UserWarning, match=r"1 of 21 pictures .* a/gone.png \(.*No such file"):
        data = loaded(root)
    assert everything(data) == [*range(20)]


def test_colour_is_detected_or_chosen(pictures: Make) -> None:
    root = pictures(a=range(10))
    assert loaded(root).image_shape[0] == 1
    assert loaded(root, color=True).image_shape[0] == 3
    Image.new("RGB", (9, 9), (255, 0, 0)).save(root / "a" / "red.png")
    assert loaded(root).image_shape[0] == 3
    assert loaded(root, color=False).image_shape[0] == 1


def test_a_damaged_cache_is_named(pictures: Make) -> None:
    root = pictures(a=range(10))
    loaded(root)
    array = next((root / ".skipvae").glob("*/images.npy"))
    np.save(array, np.zeros((2, 1, 8, 8), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"is damaged .* delete it"):
        loaded(root)
    shutil.rmtree(root / ".skipvae")
    loaded(root)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_size": 1}, "image_size=1 must be pixels from 4 to 4096"),
        ({"image_size": [8, 5000]}, "must be pixels from 4 to 4096"),
        ({"image_size": [8, 8, 3]}, r"\[height, width\]"),
        ({"fit": "zoom"}, "crop, pad, stretch"),
        ({"background": 300}, "grey level"),
        ({"val_fraction": 0.9, "test_fraction": 0.2}, "leave something to train on"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], said: str, pictures: Make) -> None:
    with pytest.raises(ValueError, match=said):
        loaded(pictures(a=range(5)), **options)


def test_folders_without_enough_pictures_are_refused(pictures: Make, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        loaded(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds 2 picture\(s\), and none is left for train: add some, or lower"):
        loaded(pictures(a=range(2)))
    with pytest.raises(ValueError, match=r"holds 4 picture\(s\), and none is left for train"):
        loaded(pictures(a=range(4)), val_fraction=0.5, test_fraction=0.4)
    (tmp_path / "notes").mkdir()
    with pytest.raises(ValueError, match=r"notes holds no pictures, files that end in \.bmp, .* give data.root"):
        loaded(tmp_path / "notes")
    broken = tmp_path / "broken"
    broken.mkdir()
    for i in range(4):
        (broken / f"{i}.png").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"train, val, test: 4 of 4 files are damaged, such as \d.png \("):
        loaded(broken)


def test_a_folder_that_has_changed_since_a_checkpoint_is_reported(
    pictures: Make, recwarn: pytest.WarningsRecorder
) -> None:
    """A picture more, and the splits are drawn anew: a test would be of pictures that were trained on."""
    root = pictures(all=range(40))
    data = loaded(root)
    data.train_dataloader()
    state = data.state_dict()
    loaded(root).load_state_dict(state)
    loaded(root, image_size=16).load_state_dict(state)
    assert not recwarn.list
    Image.new("L", (9, 9), 99).save(root / "all" / "99.png")
    with pytest.warns(UserWarning, match="not those of the checkpoint.*were trained on"):
        loaded(root).load_state_dict(state)
