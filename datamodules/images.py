"""The base of all data modules of images."""

from collections.abc import Hashable, Iterable
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from datamodules.binarization import draw_binary
from datamodules.duplicates import duplicate_fractions
from datamodules.image_checks import checked_images, checked_labels
from datamodules.in_memory import InMemoryDataModule, check_sizes, check_train_size
from datamodules.index_batches import SequentialBatches, ShuffledBatches
from datamodules.loaders import InMemoryLoader, TrainingLoader
from datamodules.randomness import Stream

Binarize = Literal["none", "static", "dynamic"]


class Examples(NamedTuple):
    """One split; tensors or NumPy arrays where they are loaded, tensors from then on."""

    images: Any  # (N, C, H, W): uint8, 0 (black) to 255 (white), or floats, which the model sees as they are
    labels: Any = None  # integers (N,), or None


class Splits(NamedTuple):
    """The three splits of a data set."""

    train: Examples
    val: Examples
    test: Examples


class ImageDataModule(InMemoryDataModule):
    """Images held as one tensor, beside the model, and batched by slicing.

    Batches are `(image, label)`: float32 (B, C, H, W), in [0, 1] where the images are bytes, and int64 (B,), -1 where
    there are no labels. Batches to predict from are `(image, label, id)` over the test split, with id int64 (B,) its
    row.

    Binarisation suits drawings of ink on paper, but not photographs: it is off unless a data set or a config switches
    it on. `dynamic` draws the training images anew in every epoch, `static` draws them once, and both draw validation
    and test images once, the same for every seed; `none` keeps grey values. A drawn image depends on the seed, the
    epoch, and its row in the split, and on nothing else.

    A subclass sets `image_shape` and writes `load`.

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
        super().__init__()
        check_sizes(batch_size=batch_size, eval_batch_size=eval_batch_size, train_size=train_size)
        if binarize not in ("none", "static", "dynamic"):
            raise ValueError(f"binarize={binarize!r} must be one of none, static, dynamic")
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.binarize, self.seed, self.train_size, self.drop_last = binarize, seed, train_size, drop_last
        self.splits: Splits | None = None

    def load(self) -> Splits:
        """Read the splits, not binarised, from files that exist by now. Runs on every process."""
        raise NotImplementedError

    def scale(self, images: Tensor) -> Tensor:
        """Stored images (B, C, H, W) as the model sees them: bytes as fractions of 255, floats as they are."""
        return images if images.is_floating_point() else images / 255

    def contents(self, split: str, examples: Examples) -> Iterable[Hashable]:
        """The content of each example of a split, by which examples that are in two splits are found."""
        return (image.tobytes() for image in examples.images.numpy())

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if self.splits is not None:
            return
        train, val, test = loaded = self.checked(self.load())
        if self.train_size is not None:
            check_train_size(self.train_size, len(train.images))
            train = Examples(train.images[: self.train_size], train.labels[: self.train_size])
        contents = map(self.contents, Splits._fields, (train, val, test))
        for name, fraction in duplicate_fractions(*contents).items():
            num_examples = len(getattr(loaded, name).images)
            self.split_facts[name] = {"num_examples": num_examples, "duplicate_fraction": fraction}
        if self.binarize == "static":
            train = train._replace(images=draw_binary(train.images, Stream.TRAIN_PIXELS, self.seed, 0))
        if self.binarize != "none":
            val = val._replace(images=draw_binary(val.images, Stream.VAL_PIXELS))
            test = test._replace(images=draw_binary(test.images, Stream.TEST_PIXELS))
        self.splits = Splits(train, val, test)

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
                    f"{images.min():g} to {images.max():g}: return floats from 0 to 1, or set binarize to none"
                )
            splits.append(Examples(images, checked_labels(name, examples.labels, len(images))))
        return Splits(*splits)

    def _loader(self, split: str, shuffled: bool = False, with_ids: bool = False) -> InMemoryLoader[tuple[Tensor, ...]]:
        stored, labels = self._on_device(split)
        redrawn = split == "train" and self.binarize == "dynamic"

        @lru_cache(maxsize=1)
        def images_of(epoch: int) -> Tensor:
            images: Tensor = stored
            return draw_binary(images, Stream.TRAIN_PIXELS, self.seed, epoch) if redrawn else images

        def fetch(index: Tensor, epoch: int) -> tuple[Tensor, ...]:
            batch = self.scale(images_of(epoch).index_select(0, index)), labels.index_select(0, index)
            return (*batch, index) if with_ids else batch

        size, process, device = len(labels), self._rank_and_world_size, labels.device
        if shuffled:
            shuffled_batches = ShuffledBatches(size, self.batch_size, self.seed, *process, device, self.drop_last)
            return TrainingLoader(fetch, shuffled_batches)
        batch_size = self.batch_size if split == "train" else self.eval_batch_size
        return InMemoryLoader(fetch, SequentialBatches(size, batch_size, *process, device=device))

    def _on_device(self, split: str) -> Examples:
        """A split on the model's device; in main memory if it would fill over a quarter of the free GPU memory."""
        if self.splits is None:
            raise ValueError("the data is not loaded yet: call setup() before asking for batches")
        examples: Examples = getattr(self.splits, split)
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        if device.type == "cuda" and examples.images.nbytes > torch.cuda.mem_get_info(device)[0] // 4:
            return examples
        return Examples(examples.images.to(device), examples.labels.to(device))
