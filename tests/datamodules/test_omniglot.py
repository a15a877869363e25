from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules import OmniglotDataModule
from datamodules import files as published_files
from datamodules.binarization import draw_binary
from datamodules.omniglot_sources import FILES, FOLDERS, shrink
from tests.datamodules.omniglot_files import CHARDATA, CHARDATA_ALPHABETS, CHARDATA_CHARACTERS, DRAWINGS, ready


@pytest.mark.parametrize("variant", ["torchvision", "npz"])
@pytest.mark.parametrize("size", [28, 105])
def test_drawings_are_split_by_drawer(put: Callable[[str], Path], tmp_path: Path, variant: str, size: int) -> None:
    put(variant)
    data = ready(tmp_path, variant, size=size, label="character")
    assert data.image_shape == (1, size, size)
    drawings = torch.from_numpy(np.concatenate(list(DRAWINGS.values())))  # (4, 20, 105, 105)
    for split, drawers in zip(data.splits, [range(14), range(14, 15), range(15, 20)], strict=True):
        assert split.labels.tolist() == [0, 1, 2, 3] * len(drawers)
        expected = torch.cat([shrink(drawings[:, drawer], size) for drawer in drawers])
        assert split.images.equal(expected.unsqueeze(1))
    assert (data.splits.train.images != 0).float().mean() > 0.09  # ink is 1


@pytest.mark.parametrize("variant", ["torchvision", "npz"])
def test_alphabets_have_names(put: Callable[[str], Path], tmp_path: Path, variant: str) -> None:
    put(variant)
    data = ready(tmp_path, variant)
    assert data.label_names == ["Greek", "Tagalog", "Angelic"]
    assert data.splits.val.labels.tolist() == [1, 0, 0, 2]


def test_chardata_is_read_as_its_authors_read_it(put: Callable[[str], Path], tmp_path: Path) -> None:
    put("chardata")
    order = np.random.RandomState(123).permutation(20)
    alphabets = ready(tmp_path, "chardata")
    characters = ready(tmp_path, "chardata", label="character")
    for split, rows in zip(alphabets.splits, [order[:-4], order[-4:], np.arange(20, 26)], strict=True):
        assert split.images.equal(torch.from_numpy(CHARDATA[rows]).float().unsqueeze(1))  # grey values, not rounded
        assert split.labels.tolist() == CHARDATA_ALPHABETS[rows].tolist()
    for split, rows in zip(characters.splits, [order[:-4], order[-4:], np.arange(20, 26)], strict=True):
        assert split.labels.tolist() == [2 * CHARDATA_ALPHABETS[row] + CHARDATA_CHARACTERS[row] - 1 for row in rows]
    assert alphabets.label_names == ["alphabet 1", "alphabet 2", "alphabet 3"]


def test_grey_values_are_binarised_as_any_images(put: Callable[[str], Path], tmp_path: Path) -> None:
    put("npz")
    data = ready(tmp_path, "npz", binarize="dynamic", batch_size=56)
    image, _ = next(iter(data.train_dataloader()))
    assert set(image.unique().tolist()) == {0, 1}
    assert image.mean().item() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_pixels_of_chardata_are_drawn_from_its_own_grey_values(
    put: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binarize: str
) -> None:
    put("chardata")
    grey = ready(tmp_path, "chardata").splits
    drawn_from = []

    def spied(images: Any, *counters: Any) -> Any:
        drawn_from.append(images)
        return draw_binary(images, *counters)

    monkeypatch.setattr("datamodules.images.draw_binary", spied)
    data = ready(tmp_path, "chardata", binarize=binarize, batch_size=16)
    (image, label), (again, _) = next(iter(data.train_dataloader())), next(iter(data.train_dataloader()))
    assert image.equal(again)
    assert set(image.unique().tolist()) == {0, 1}
    assert label.dtype == torch.int64
    order = (grey.val, grey.test, grey.train) if binarize == "dynamic" else (grey.train, grey.val, grey.test)
    assert all(images.equal(split.images) for images, split in zip(drawn_from, order, strict=False))
    for split in data.splits:  # what is drawn once is kept as bytes
        assert split.images.dtype == (
            torch.float32 if split is data.splits.train and binarize == "dynamic" else torch.uint8
        )


@pytest.mark.parametrize("variant", list(FILES))
def test_absent_files_are_named_with_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: Any
) -> None:
    def urlopen(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(published_files, "urlopen", urlopen)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = ", ".join(file.name for file in FILES[variant])
    for download in (True, False):
        with pytest.raises(FileNotFoundError, match=f"put {names} into {tmp_path / FOLDERS[variant]} ") as error:
            OmniglotDataModule(str(tmp_path), variant, download=download).prepare_data()
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="prepare_data"):
        OmniglotDataModule(str(tmp_path), variant).setup()


def test_the_files_of_another_variant_are_pointed_to(put: Callable[[str], Path], tmp_path: Path) -> None:
    put("npz")
    with pytest.raises(FileNotFoundError, match="set variant=npz, whose files are there"):
        ready(tmp_path, "torchvision", download=False)


@pytest.mark.parametrize("variant", list(FILES))
def test_a_damaged_file_is_named_and_nothing_is_kept(put: Callable[[str], Path], tmp_path: Path, variant: Any) -> None:
    folder = put(variant)
    path = folder / FILES[variant][0].name
    path.write_bytes(path.read_bytes()[:-100])
    before = sorted(folder.iterdir())
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        ready(tmp_path, variant)
    assert sorted(folder.iterdir()) == before
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"variant": "mat"},
        {"label": "drawer"},
        {"size": 0},
        {"size": 106, "variant": "npz"},
        {"size": 14, "variant": "chardata"},
        {"val_size": 0},
        {"val_size": 20},
    ],
)
def test_arguments_out_of_range_are_named(put: Callable[[str], Path], tmp_path: Path, options: dict[str, Any]) -> None:
    put("chardata")
    with pytest.raises(ValueError, match=next(iter(options))):
        ready(tmp_path, **{"variant": "chardata", **options})


def test_shared_omniglot_is_whole(shared_data: Path, tmp_path: Path) -> None:
    options = {"variant": "npz", "cache_dir": str(tmp_path), "binarize": "none"}
    data = OmniglotDataModule(str(shared_data), label="character", **options)
    data.prepare_data()
    data.setup()
    assert [len(split.labels) for split in data.splits] == [22_722, 1_623, 8_115]
    assert all(
        split.labels.bincount().unique().tolist() == [drawers]
        for split, drawers in zip(data.splits, (14, 1, 5), strict=True)
    )
    assert data.label_names == []  # characters have none
    by_alphabet = OmniglotDataModule(str(shared_data), **options)
    by_alphabet.setup()
    assert len(by_alphabet.label_names) == 50
    assert (by_alphabet.label_names[0], by_alphabet.label_names[30]) == ("Alphabet_of_the_Magi", "Angelic")
    assert by_alphabet.splits.val.labels[964:].min() == 30
    assert by_alphabet.splits.val.labels.bincount()[2] == 26  # characters of Arcadian
    ink = float(sum(split.images.double().sum() for split in data.splits)) / (32_460 * 784 * 255)
    assert ink == pytest.approx((19_280 * 0.0779 + 13_180 * 0.0843) / 32_460, abs=2e-4)
