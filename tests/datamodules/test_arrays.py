"""Arrays of images become splits, whatever their layout and file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules import ArrayDataModule

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 3, 6, 5), dtype=np.uint8)
LABELS = np.arange(50)


def loaded(*sources: Any, **options: Any) -> ArrayDataModule:
    data = ArrayDataModule(*sources, batch_size=4, **options)
    data.setup()
    return data


def assert_all_there(data: ArrayDataModule, images: np.ndarray = IMAGES) -> None:
    assert data.splits is not None
    assert [len(split.images) for split in data.splits] == [40, 5, 5]
    labels = torch.cat([split.labels for split in data.splits])
    found = torch.cat([split.images for split in data.splits])[labels.argsort()]
    assert np.array_equal(found.numpy(), images)
    assert labels.sort().values.tolist() == LABELS.tolist()


def test_channels_last_with_alpha_are_recognised() -> None:
    for channels in (2, 4):
        images = np.random.default_rng(0).integers(0, 256, (50, 6, 5, channels), dtype=np.uint8)
        data = loaded((images, LABELS))
        assert data.image_shape == (channels, 6, 5)
        assert_all_there(data, images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    "images",
    [IMAGES, IMAGES.transpose(0, 2, 3, 1), torch.from_numpy(IMAGES)],
    ids=["channels first", "channels last", "tensor"],
)
def test_every_layout_is_recognised(images: Any) -> None:
    data = loaded((images, LABELS))
    assert data.image_shape == (3, 6, 5)
    assert_all_there(data)


def test_every_file_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=IMAGES, y=LABELS)
    torch.save({"images": torch.from_numpy(IMAGES), "labels": torch.from_numpy(LABELS)}, tmp_path / "a.pt")
    for name in ("a.npz", "a.pt"):
        assert_all_there(loaded(str(tmp_path / name)))
    np.save(tmp_path / "grey.npy", IMAGES[:, 0])
    torch.save(torch.from_numpy(IMAGES[:, :1]) / 255, tmp_path / "grey.pt")
    for name in ("grey.npy", "grey.pt"):
        data = loaded(str(tmp_path / name))
        assert data.image_shape == (1, 6, 5)
        assert data.splits is not None
        assert (data.splits.val.labels == -1).all()
    x, _ = next(iter(data.train_dataloader()))
    assert x.max() <= 1


def test_splits_that_are_given_are_kept() -> None:
    data = loaded((IMAGES, LABELS), (IMAGES[:7], LABELS[:7]), IMAGES[:3])
    assert data.splits is not None
    assert [len(split.images) for split in data.splits] == [50, 7, 3]
    assert np.array_equal(data.splits.val.images.numpy(), IMAGES[:7])
    first, second = loaded(IMAGES, split_seed=1), loaded(IMAGES, split_seed=2)
    assert first.splits is not None
    assert second.splits is not None
    assert not torch.equal(first.splits.test.images, second.splits.test.images)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (IMAGES.astype(float), r"floats from 0 to 255 are neither bytes nor fractions"),
        (IMAGES[0, 0], r"shape \(6, 5\) holds no images"),
        (IMAGES[:2], "too few for three splits"),
        (IMAGES.astype(np.int64), "int64"),
        (np.where(IMAGES > 9, np.nan, IMAGES / 255), "NaN or infinity"),
        (IMAGES // 200, "uint8 from 0 to 1, where white is 255"),
        (IMAGES[:0], r"shape \(0, .* holds no images"),
        (np.array(["a", "b"]), "an array of <U1, not of numbers"),
        ((IMAGES, LABELS[:-1]), "one integer for each"),
        ((IMAGES, LABELS / 2), "labels are float64"),
    ],
)
def test_arrays_of_no_images_are_refused(source: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        loaded(source)
    file = tmp_path / "mine.npz"  # the same from a file, which is named
    images, labels = source if isinstance(source, tuple) else (source, None)
    np.savez(file, images=images, **({} if labels is None else {"labels": labels}))
    with pytest.raises(ValueError, match=rf"mine\.npz: .*{said}"):
        loaded(str(file))


def test_splits_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the val images: images of shape .* bring all to one shape"):
        loaded(IMAGES, val=IMAGES[..., :4, :])


def test_files_of_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*a\.npy"):
        loaded(str(tmp_path / "a.npy"))
    (tmp_path / "a.npy").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a\.npy cannot be read"):
        loaded(str(tmp_path / "a.npy"))
    np.savez(tmp_path / "b.npz", pixels=IMAGES)
    with pytest.raises(ValueError, match=r"b\.npz cannot be read: none of its arrays is called images"):
        loaded(str(tmp_path / "b.npz"))
    (tmp_path / "d.pt").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"d\.pt cannot be read: it is damaged, or holds Python objects"):
        loaded(str(tmp_path / "d.pt"))
    (tmp_path / "c.csv").touch()
    with pytest.raises(ValueError, match=r"none of \.npy, \.npz and \.pt"):
        loaded(str(tmp_path / "c.csv"))
