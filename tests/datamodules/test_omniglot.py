import hashlib
import io
import multiprocessing
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from datamodules import OmniglotDataModule
from datamodules import files as published_files
from datamodules.binarization import draw_binary
from datamodules.files import PublishedFile
from datamodules.omniglot_sources import FILES, FOLDERS, shrink

ALPHABETS = {"background": ["Tagalog", "Greek", "Greek"], "evaluation": ["Angelic"]}  # of each character
DRAWINGS = {
    part: np.random.default_rng(len(names)).random((len(names), 20, 105, 105)) < 0.1
    for part, names in ALPHABETS.items()
}


def write_zips(folder: Path) -> None:
    number = 0
    for part, names in ALPHABETS.items():
        with zipfile.ZipFile(folder / f"images_{part}.zip", "w") as archive:
            for alphabet, drawings in zip(names, DRAWINGS[part], strict=True):
                number += 1
                for drawer, ink in enumerate(drawings, 1):
                    page = io.BytesIO()
                    Image.fromarray(~ink).save(page, "PNG")
                    archive.writestr(
                        f"images_{part}/{alphabet}/character{number:02}/{number:04}_{drawer:02}.png", page.getvalue()
                    )


def write_npz(folder: Path) -> None:
    for part, drawings in DRAWINGS.items():
        np.savez(folder / f"images_{part}.npz", images=~drawings, labels=np.zeros(drawings.shape[:2], dtype=np.int64))
    rows = [f"{part}\t0\t0001\t0\t{name}\tcharacter01" for part, names in ALPHABETS.items() for name in names]
    header = "split\tlabel\tfile_prefix\talphabet_id\talphabet\tcharacter"
    (folder / "classes.tsv").write_text("\n".join([header, *rows]) + "\n")


CHARDATA = np.random.default_rng(0).random((26, 28, 28))  # 20 to train on, 6 for test
CHARDATA_ALPHABETS, CHARDATA_CHARACTERS = np.arange(26) % 3, np.arange(26) % 2 + 1


def write_chardata(folder: Path) -> None:
    columns = CHARDATA.swapaxes(1, 2).reshape(26, 784).T
    one_hot = np.eye(3)[CHARDATA_ALPHABETS].T
    arrays = {"data": columns, "target": one_hot, "targetchar": CHARDATA_CHARACTERS[None]}
    train = {name: array[:, :20] for name, array in arrays.items()}
    savemat(folder / "chardata.mat", train | {f"test{name}": array[:, 20:] for name, array in arrays.items()})


WRITERS = {"torchvision": write_zips, "npz": write_npz, "chardata": write_chardata}


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


def ready(tmp_path: Path, variant: str, **options: Any) -> OmniglotDataModule:
    options = {"binarize": "none", "val_size": 4, **options}
    data = OmniglotDataModule(data_dir=str(tmp_path / "data"), variant=variant, **options)
    data.prepare_data()
    data.setup()
    return data


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


def test_a_cache_of_another_version_is_not_read(put: Callable[[str], Path], tmp_path: Path) -> None:
    folder = put("chardata")
    whole = ready(tmp_path, "chardata").splits
    (cache,) = folder.glob("*.npz")
    with np.load(cache) as arrays:
        rounded = {**arrays, "images": (255 * arrays["images"]).round().astype(np.uint8)}
    cache.unlink()
    np.savez(folder / "omniglot-chardata-28-v1.npz", **rounded)
    assert ready(tmp_path, "chardata").splits.train.images.equal(whole.train.images)
    np.savez(cache, **rounded)
    with pytest.raises(ValueError, match=r"is damaged .*: delete it"):
        ready(tmp_path, "chardata")


def test_it_is_preprocessed_once(put: Callable[[str], Path], tmp_path: Path) -> None:
    folder = put("npz")
    first = ready(tmp_path, "npz")
    for path in folder.glob("images_*"):
        path.unlink()
    again = ready(tmp_path, "npz", download=False)
    assert again.splits.train.images.equal(first.splits.train.images)
    assert sorted(path.name for path in folder.iterdir()) == ["classes.tsv", "omniglot-npz-28-v2.npz"]


def test_the_users_cache_serves_where_the_folder_cannot_be_written(
    put: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put("npz")
    replace = os.replace

    def read_only(source: Any, target: Any) -> None:
        if folder in Path(target).parents:
            raise PermissionError(f"{target} is read-only")
        replace(source, target)

    monkeypatch.setattr(os, "replace", read_only)
    before = sorted(folder.iterdir())
    ready(tmp_path, "npz")
    assert sorted(folder.iterdir()) == before
    assert [path.name for path in (tmp_path / "cache" / "skipvae").iterdir()] == ["omniglot-npz-28-v2.npz"]
    ready(tmp_path, "npz", cache_dir=str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "omniglot-npz-28-v2.npz").exists()
    with pytest.raises(OSError, match="set cache_dir"):
        ready(tmp_path, "npz", cache_dir=str(folder / "classes.tsv"))


def test_an_interrupted_preprocessing_leaves_nothing(
    put: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put("npz")
    before = sorted(folder.iterdir())

    def interrupted(path: Any, **arrays: Any) -> None:
        Path(path).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ready(tmp_path, "npz")
    assert sorted(folder.iterdir()) == before


def test_several_processes_may_start_together(put: Callable[[str], Path], tmp_path: Path) -> None:
    folder = put("npz")
    context = multiprocessing.get_context("fork")
    start, totals = context.Barrier(4), context.Queue()

    def prepare() -> None:
        start.wait()
        totals.put(int(ready(tmp_path, "npz").splits.train.images.long().sum()))

    processes = [context.Process(target=prepare) for _ in range(4)]
    for process in processes:
        process.start()
    found = {totals.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert found == {int(ready(tmp_path, "npz").splits.train.images.long().sum())}
    assert not list(folder.glob(".*"))


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


@pytest.mark.parametrize("keep", [0, 1000, -1])
def test_a_damaged_cache_is_named(put: Callable[[str], Path], tmp_path: Path, keep: int) -> None:
    folder = put("npz")
    ready(tmp_path, "npz")
    path = folder / "omniglot-npz-28-v2.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"is damaged .*: delete it"):
        ready(tmp_path, "npz")


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


@pytest.mark.parametrize(("height", "size"), [(105, 28), (15, 1), (15, 4), (15, 14), (15, 15)])
def test_shrinking_measures_the_share_of_ink(height: int, size: int) -> None:
    ink = torch.from_numpy(DRAWINGS["background"][0][:2, :height, :height])
    # magnified by `size`, every new pixel is a block of height x height whole ones
    magnified = ink.repeat_interleave(size, 1).repeat_interleave(size, 2)
    share = magnified.view(2, size, height, size, height).double().mean((2, 4))
    assert (shrink(ink, size) - 255 * share).abs().max() <= 0.5 + 1e-3  # it is rounded, from float32


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
