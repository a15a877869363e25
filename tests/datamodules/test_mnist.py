import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import datasets

from datamodules import FashionMNISTDataModule, MNISTDataModule, MNISTDigitsDataModule, files
from tests.datamodules.test_idx import idx_bytes

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def test_digits_are_stratified_disjoint_and_whole() -> None:
    data = MNISTDigitsDataModule(binarize="none")
    data.setup()
    assert [split.labels.bincount().tolist() for split in data.splits] == [[400] * 10, [50] * 10, [50] * 10]
    assert data.splits.train.labels[:20].tolist() == [*range(10)] * 2  # the first examples are stratified too
    images = torch.cat([split.images for split in data.splits])
    assert images.shape == (5000, *data.image_shape)
    assert len(images.flatten(1).unique(dim=0)) == 5000
    assert images.double().mean().item() / 255 == pytest.approx(0.1313, abs=5e-5)
    assert images.double().std().item() / 255 == pytest.approx(0.3086, abs=5e-5)


def test_digits_are_split_in_the_same_way_for_ever() -> None:
    digests = [
        hashlib.sha256(bytes(split.images.numpy()) + bytes(split.labels.numpy())).hexdigest()[:16]
        for split in MNISTDigitsDataModule().load()
    ]
    assert digests == ["22b88887da4903af", "c2c81dc14746f2ee", "c2d592845c4596aa"]


class Tiny:
    sizes = (20, 5, 7)


class TinyMNIST(Tiny, MNISTDataModule):
    pass


class TinyFashionMNIST(Tiny, FashionMNISTDataModule):
    pass


@pytest.fixture(params=[TinyMNIST, TinyFashionMNIST])
def tiny(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """A small data set in the official form: its class, its four arrays, and an address that it can be had from."""
    generator = torch.Generator().manual_seed(0)
    arrays = [
        torch.randint(256, (25, 28, 28), generator=generator, dtype=torch.uint8),
        torch.arange(25, dtype=torch.uint8),
        torch.randint(256, (7, 28, 28), generator=generator, dtype=torch.uint8),
        torch.arange(7, dtype=torch.uint8),
    ]
    server = tmp_path / "server"
    server.mkdir()
    resources = []
    for name, array in zip(NAMES, arrays, strict=True):
        (server / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
        resources.append((f"{name}.gz", hashlib.md5((server / f"{name}.gz").read_bytes()).hexdigest()))
    official = getattr(datasets, request.param.name)
    monkeypatch.setattr(official, "resources", resources)
    monkeypatch.setattr(official, "mirrors", ["file:///nowhere/", f"{server.as_uri()}/"])
    return request.param, arrays, server


def fill(data_dir: Path, server: Path, name: str, packed: bool) -> Path:
    folder = data_dir / name / "raw"
    folder.mkdir(parents=True)
    for path in server.iterdir():
        if packed:
            (folder / path.name).write_bytes(path.read_bytes())
        else:
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return folder


@pytest.mark.parametrize("source", ["packed", "unpacked", "downloaded"])
def test_files_become_splits(tiny: tuple[Any, ...], tmp_path: Path, source: str) -> None:
    data_module, (train_images, train_labels, test_images, test_labels), server = tiny
    if source != "downloaded":
        folder = fill(tmp_path / "data", server, data_module.name, source == "packed")
        folder.chmod(0o555)  # a read-only folder will do
    data = data_module(data_dir=str(tmp_path / "data"), download=source == "downloaded", binarize="none")
    data.prepare_data()
    data.setup()
    assert data.splits.train.images.equal(train_images[:20, None])
    assert data.splits.train.labels.equal(train_labels[:20].long())
    assert data.splits.val.images.equal(train_images[20:, None])
    assert data.splits.val.labels.equal(train_labels[20:].long())
    assert data.splits.test.images.equal(test_images[:, None])
    assert data.splits.test.labels.equal(test_labels.long())
    names = {path.name for path in (tmp_path / "data" / data_module.name / "raw").iterdir()}
    assert names == {name if source == "unpacked" else f"{name}.gz" for name in NAMES}


def test_a_damaged_file_is_named(tiny: tuple[Any, ...], tmp_path: Path) -> None:
    data_module, _, server = tiny
    folder = fill(tmp_path, server, data_module.name, packed=True)
    path = folder / f"{NAMES[2]}.gz"
    path.write_bytes(path.read_bytes()[:-9])
    data = data_module(data_dir=str(tmp_path))
    data.prepare_data()
    with pytest.raises(ValueError, match=f"{NAMES[2]}.gz is damaged") as error:
        data.setup()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("download", [True, False])
def test_absent_files_are_named_with_their_folder(
    tiny: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: bool
) -> None:
    def urlopen(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(files, "urlopen", urlopen)
    data_module, _, server = tiny
    folder = fill(tmp_path, server, data_module.name, packed=True)
    (folder / f"{NAMES[1]}.gz").unlink()
    data = data_module(data_dir=str(tmp_path), download=download)
    with pytest.raises(FileNotFoundError, match=f"put {NAMES[1]}.gz into {folder}") as error:
        data.prepare_data()
    assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="prepare_data"):
        data.setup()


def test_shared_mnist_is_the_official_one(shared_data: Path) -> None:
    data = MNISTDataModule(data_dir=str(shared_data / "mnist"), download=False, binarize="none")
    data.prepare_data()
    data.setup()
    train, val, test = data.splits
    assert [len(split.images) for split in data.splits] == [50_000, 10_000, 10_000]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert (train.labels.bincount() + val.labels.bincount()).tolist() == counts
    assert test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert test.images.double().mean().item() / 255 == pytest.approx(0.1325, abs=5e-5)
    # the embedded digits are the first 500 training images of each class
    first_zeros = {bytes(image.numpy()) for image in train.images[train.labels == 0][:500]}
    digits = MNISTDigitsDataModule().load()
    assert {bytes(image.numpy()) for split in digits for image in split.images[split.labels == 0]} == first_zeros
