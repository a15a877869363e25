"""The base of all data modules of images."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from torch import Tensor

from datamodules.binarization import draw_binary
from datamodules.image_checks import checked_images, checked_labels
from datamodules.pictures import Format, Pictures
from datamodules.randomness import Stream
from datamodules.tensors import Splits, TensorDataModule

__all__ = ["Binarize", "Examples", "ImageDataModule", "Splits"]

Binarize = Literal["none", "static", "dynamic"]


class Examples(NamedTuple):
    """One split; tensors or NumPy arrays where they are loaded, tensors from then on."""

    images: Any  # (N, C, H, W): uint8, 0 (black) to 255 (white), or floats, which the model sees as they are
    labels: Any = None  # integers (N,), or None


class ImageDataModule(TensorDataModule):
    """Images held as one tensor, beside the model, and batched by slicing.

    Batches are `(image, label)`: float32 (B, C, H, W), in [0, 1] where the images are bytes, and int64 (B,), -1 where
    there are no labels. Batches to predict from are `(image, label, id)` over the test split, with id int64 (B,) its
    row.

    Binarisation suits drawings of ink on paper, but not photographs: it is off unless a data set or a config switches
    it on. `dynamic` draws the training images anew in every epoch, `static` draws them once, and both draw validation
    and test images once, the same for every seed; `none` keeps grey values. A drawn image depends on the seed, the
    epoch, and its row in the split, and on nothing else.

    A subclass sets `image_shape` and writes `load`, which reads the splits, not binarised.

    Args:
        batch_size: Training examples per process and step.
        eval_batch_size: Examples in a batch of validation, test and prediction.
        binarize: none, static, or dynamic.
        seed: Seed of the training order and of the training images' binarisation.
        train_size: Train on the first train_size examples only (all by default).
        drop_last: Whether examples that do not fill a training batch are left out of the epoch, different ones in each;
            else they make a last, shorter batch (the authors' batches).

    Raises:
        ValueError: If an argument is outside its range, or what is loaded cannot be used; says what to do.
    """

    image_shape: tuple[int, int, int]  # (C, H, W); known before any data is read

    def __init__(
        self,
        batch_size: int = 50,
        eval_batch_size: int = 100,
        binarize: Binarize = "none",
        seed: int = 0,
        train_size: int | None = None,
        drop_last: bool = True,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed, train_size, drop_last)
        if binarize not in ("none", "static", "dynamic"):
            raise ValueError(f"binarize={binarize!r} must be one of none, static, dynamic")
        self.binarize = binarize

    @property
    def pictures(self) -> Pictures | None:
        """How a picture file becomes x; None where x has neither one channel nor three."""
        channels, height, width = self.image_shape
        form = getattr(self, "format", Format(height, width, channels == 3, "crop", 255))
        return Pictures(form, self.binarize != "none") if channels in (1, 3) else None

    def members(self, train: Examples) -> Iterable[bytes]:
        """Their pixels."""
        return (image.tobytes() for image in train.images.numpy())

    def scale(self, images: Tensor) -> Tensor:
        """Stored images (B, C, H, W) as the model sees them: bytes as fractions of 255, floats as they are."""
        return images if images.is_floating_point() else images / 255

    def prepared(self, splits: Splits) -> Splits:
        """The splits, binarised where that is done once."""
        train, val, test = splits
        if self.binarize == "static":
            train = train._replace(images=draw_binary(train.images, Stream.TRAIN_PIXELS, self.seed, 0))
        if self.binarize != "none":
            val = val._replace(images=draw_binary(val.images, Stream.VAL_PIXELS))
            test = test._replace(images=draw_binary(test.images, Stream.TEST_PIXELS))
        return Splits(train, val, test)

    def of_epoch(self, split: str, stored: Tensor, epoch: int) -> Tensor:
        """The images of an epoch: binarised anew where `binarize` is dynamic."""
        redrawn = split == "train" and self.binarize == "dynamic"
        return draw_binary(stored, Stream.TRAIN_PIXELS, self.seed, epoch) if redrawn else stored

    def checked(self, loaded: Any) -> Splits:
        """The loaded splits as tensors.

        Raises:
            ValueError: If it cannot be used; says what to do.
        """
        if not (isinstance(loaded, (tuple, list)) and len(loaded) == 3):
            raise ValueError("load must return Splits(train, val, test), each Examples(images, labels)")
        splits = []
        for name, split in zip(Splits._fields, loaded, strict=True):
            if not (isinstance(split, (tuple, list)) and len(split) in (1, 2)):
                raise ValueError(f"the {name} split must be Examples(images, labels), not a {type(split).__name__}")
            examples = Examples(*split)
            images = checked_images(name, examples.images, getattr(self, "image_shape", None))
            if images.is_floating_point() and self.binarize != "none" and not 0 <= images.min() <= images.max() <= 1:
                raise ValueError(
                    f"binarize={self.binarize} draws from grey values, but the {name} images are floats from "
                    f"{images.min():g} to {images.max():g}: give floats from 0 to 1, or set binarize to none"
                )
            splits.append(Examples(images, checked_labels(name, examples.labels, len(images))))
        return Splits(*splits)
