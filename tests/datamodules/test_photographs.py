"""Colour pictures: embedded patches, and the published sets in the form in which they are published."""

import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision import datasets

from datamodules import CIFAR10DataModule, PhotoPatchesDataModule, SVHNDataModule


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_patches_of_different_splits_share_no_pixel() -> None:
    from sklearn.datasets import load_sample_image

    data = PhotoPatchesDataModule()
    data.setup()
    assert data.splits is not None
    assert [len(split.images) for split in data.splits] == [6100, 500, 500]
    assert data.split_facts["test"]["duplicate_fraction"] == 0
    for label, name in enumerate(data.label_names):
        photograph = torch.from_numpy(load_sample_image(f"{name}.jpg").copy()).permute(2, 0, 1)
        for split, start, end in zip(data.splits, (0, 512, 576), (512, 576, 640), strict=True):
            patches = split.images[split.labels == label]
            assert any(  # the patch lies in the columns of its part, whole
                torch.equal(photograph[:, r : r + 32, c : c + 32], patches[0])
                for c in range(start, end - 31, 8)
                for r in range(0, photograph.shape[1] - 31, 8)
            )


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[np.ndarray]]:
    """A tiny CIFAR-10 in the official form: the address of its archive, and the pictures of its files."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "server" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    arrays = [rng.integers(0, 256, (4, 3072), dtype=np.uint8) for _ in names]
    for name, array in zip(names, arrays, strict=True):
        (folder / name).write_bytes(pickle.dumps({"data": array, "labels": [1, 2, 3, 4]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10DataModule.label_names)}))
    archive = folder.parent / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, folder.name)
    published = datasets.CIFAR10
    monkeypatch.setattr(published, "url", archive.as_uri())
    monkeypatch.setattr(published, "tgz_md5", md5(archive))
    monkeypatch.setattr(published, "train_list", [[name, md5(folder / name)] for name in names[:-1]])
    monkeypatch.setattr(published, "test_list", [["test_batch", md5(folder / "test_batch")]])
    monkeypatch.setattr(published, "meta", {**published.meta, "md5": md5(folder / "batches.meta")})
    return archive, arrays


def test_cifar10_is_downloaded_unpacked_and_split(cifar: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    data = CIFAR10DataModule(data_dir=str(tmp_path / "data"), val_size=5, batch_size=2)
    data.prepare_data()
    data.setup()
    assert data.splits is not None
    assert [len(split.images) for split in data.splits] == [15, 5, 4]
    everything = torch.cat([data.splits.train.images, data.splits.val.images]).flatten(1).numpy()
    assert np.array_equal(everything, np.concatenate(cifar[1][:5]))
    assert data.splits.test.labels.tolist() == [1, 2, 3, 4]
    again = CIFAR10DataModule(data_dir=str(tmp_path / "data"), download=False)
    again.prepare_data()
    with pytest.raises(ValueError, match="val_size=5000 must be in"):
        again.setup()


def test_cifar10_that_is_absent_or_damaged_is_named(
    cifar: tuple[Path, list[np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = CIFAR10DataModule(data_dir=str(tmp_path / "data"), download=False)
    with pytest.raises(FileNotFoundError, match=r"put cifar-10-python.tar.gz into .*data \(download is off\)"):
        data.prepare_data()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cifar-10-python.tar.gz").write_bytes(cifar[0].read_bytes()[:-9])
    with pytest.raises(ValueError, match="is damaged"):
        data.prepare_data()
    monkeypatch.setattr(datasets.CIFAR10, "url", "file:///nowhere")
    (tmp_path / "data" / "cifar-10-python.tar.gz").unlink()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        CIFAR10DataModule(data_dir=str(tmp_path / "data")).prepare_data()


def test_house_numbers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rng = tmp_path / "SVHN", np.random.default_rng(0)
    folder.mkdir()
    published = dict(datasets.SVHN.split_list)
    pictures = {}
    for split, size in (("train", 9), ("test", 4)):
        pictures[split] = rng.integers(0, 256, (32, 32, 3, size), dtype=np.uint8)
        path = folder / f"{split}_32x32.mat"
        savemat(path, {"X": pictures[split], "y": (np.arange(size)[:, None] % 10) + 1})
        published[split] = [path.as_uri(), path.name, md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", published)
    data = SVHNDataModule(data_dir=str(tmp_path), val_size=3, batch_size=2)
    data.prepare_data()
    data.setup()
    assert data.splits is not None
    assert [len(split.images) for split in data.splits] == [6, 3, 4]
    assert np.array_equal(data.splits.test.images[2].numpy(), pictures["test"][..., 2].transpose(2, 0, 1))
    assert data.splits.test.labels.tolist() == [1, 2, 3, 4]
