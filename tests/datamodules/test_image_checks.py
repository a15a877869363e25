"""What `load` returns is checked once: handled as it is meant, or refused with the fix."""

from typing import Any

import numpy as np
import pytest
import torch

from datamodules import ImageDataModule
from datamodules.images import Examples, Splits

GREY = np.random.default_rng(0).integers(0, 256, (20, 2, 4, 4), dtype=np.uint8)
LABELS = np.arange(20)


def ready(images: Any = GREY, labels: Any = LABELS, val: Any = None, **options: Any) -> ImageDataModule:
    """A data module whose splits hold these images, or, for validation, others."""

    class Own(ImageDataModule):
        image_shape = options.pop("image_shape", (2, 4, 4))

        def load(self) -> Any:
            split = Examples(images, labels)
            return Splits(split, split if val is None else Examples(val, labels), split)

    data = Own(batch_size=20, eval_batch_size=20, **options)
    data.setup()
    return data


def test_numpy_arrays_and_splits_without_labels_are_welcome() -> None:
    read_only = GREY[::-1]
    read_only.setflags(write=False)
    for images, labels in [(read_only, LABELS.astype(">i2")), (torch.from_numpy(GREY.copy()), None)]:
        x, label = next(iter(ready(images, labels).val_dataloader()))
        assert x.equal(torch.from_numpy(np.array(images)) / 255)
        assert label.equal(torch.arange(20) if labels is not None else torch.full((20,), -1))
    assert [len(entry) for entry in next(iter(ready(labels=None).predict_dataloader()))] == [20, 20, 20]


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_floats_are_not_scaled_again(dtype: str) -> None:
    images = (GREY / 255).astype(dtype)
    data = ready(images)
    for loader in (data.val_dataloader(), data.train_dataloader()):
        x, label = next(iter(loader))
        assert x.dtype == torch.float32
        assert x[label.argsort()].equal(torch.from_numpy(images.astype("float32")))


def test_ones_in_dark_validation_images_are_no_mistake_but_zeros_and_ones_are() -> None:
    assert ready(val=GREY // 8).splits is not None
    with pytest.raises(ValueError, match="the val images are uint8 from 0 to 1, where white is 255: rescale"):
        ready(val=GREY % 2)


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (GREY % 2, LABELS, {}, "the train images are uint8 from 0 to 1, where white is 255: rescale them to 0..255"),
        (GREY % 17, LABELS, {"binarize": "dynamic"}, "uint8 from 0 to 16, where white is 255: rescale"),
        (GREY / 256.0 - 0.5, LABELS, {"binarize": "static"}, r"floats from -0.5 to 0.49.*: give floats from 0 to 1"),
        (GREY * 1.0, LABELS, {"binarize": "dynamic"}, "binarize=dynamic draws from grey values, but the train images"),
        (GREY.astype(int), LABELS, {}, "the train images are int64: give uint8 from 0"),
        (GREY > 100, LABELS, {}, "the train images are bool: give uint8 from 0"),
        (np.full(GREY.shape, np.nan), LABELS, {}, "float64 with NaN or infinity"),
        (GREY[:, 0], LABELS, {}, r"are of shape \(20, 4, 4\), but image_shape is \(2, 4, 4\): give \(N, C, H, W\)"),
        (GREY[:, 0], LABELS, {"image_shape": (1, 4, 4)}, r"add the channel, as by images\[:, None\]"),
        (GREY.transpose(0, 2, 3, 1), LABELS, {}, r"put the channels first, as by .*permute\(0, 3, 1, 2\)"),
        (GREY[..., :3], LABELS, {}, r"set image_shape to \(2, 4, 3\)"),
        (GREY, LABELS, {"image_shape": None}, r"shape \(20, 2, 4, 4\): give the data module an attribute image_shape"),
        (GREY[:0], None, {}, "the train split has no images"),
        ("photos", LABELS, {}, "the train images are a str: give a tensor or a NumPy array"),
        (GREY.astype(object), LABELS, {}, "an array of object: give a tensor"),
        (GREY, LABELS[:5], {}, r"labels are int64 of shape \(5,\): give one integer for each of the 20 images"),
        (GREY, LABELS / 3, {}, "the train labels are float64 of shape"),
        (GREY, list("abcdefghijklmnopqrst"), {}, "the train labels are a list: give a tensor"),
    ],
)
def test_everything_else_is_refused_with_the_fix(
    images: Any, labels: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ready(images, labels, **options)


@pytest.mark.parametrize("loaded", [GREY, (Examples(GREY), Examples(GREY)), (GREY, GREY, GREY)])
def test_what_is_no_three_splits_is_refused(loaded: Any) -> None:
    class Own(ImageDataModule):
        image_shape = (2, 4, 4)

        def load(self) -> Any:
            return loaded

    with pytest.raises(ValueError, match=r"Examples\(images, labels\)"):
        Own().setup()
