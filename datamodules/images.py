"""Images in memory: what every image data module shares."""

from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from datamodules.batches import (
    InMemoryLoader,
    ResumableDataModule,
    SequentialBatches,
    ShuffledBatches,
    TrainingLoader,
)
from datamodules.binarization import draw_binary
from datamodules.randomness import Stream


class Examples(NamedTuple):
    """One split."""

    images: Tensor  # uint8 (N, C, H, W), 0..255
    labels: Tensor  # int64 (N,)


class Splits(NamedTuple):
    """What a data module loads."""

    train: Examples
    val: Examples
    test: Examples


class ImageDataModule(ResumableDataModule):
    """Images held as one tensor, beside the model, and batched by slicing.

    Batches are `(image, label)`: float32 (B, C, H, W) in [0, 1] and int64 (B,). Batches to predict from are
    `(image, label, id)` over the test split, with id int64 (B,) its row.

    Binarisation: `dynamic` draws the training images anew in every epoch, `static` draws them once, and both draw
    validation and test images once, the same whatever the seed; `none` keeps grey values. What is drawn for an
    image depends on the seed, the epoch, and its row in the split, and on nothing else.

    A subclass sets `image_shape` and writes `load`.

    Args:
        batch_size: Training examples per process and step.
        eval_batch_size: Examples in a batch of validation, test and prediction.
        binarize: none, static, or dynamic.
        seed: Of the training order and of the training images' binarisation.
        train_size: Train on the first so many examples only (all by default).

    Raises:
        ValueError: If an argument is outside its range.
    """

    image_shape: tuple[int, int, int]  # (C, H, W); known before any data is read

    def __init__(
        self,
        batch_size: int = 50,
        eval_batch_size: int = 100,
        binarize: Literal["none", "static", "dynamic"] = "dynamic",
        seed: int = 0,
        train_size: int | None = None,
    ) -> None:
        super().__init__()
        for name, size in {
            "batch_size": batch_size,
            "eval_batch_size": eval_batch_size,
            "train_size": train_size,
        }.items():
            if size is not None and size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if binarize not in ("none", "static", "dynamic"):
            raise ValueError(f"binarize={binarize!r} must be one of none, static, dynamic")
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.binarize, self.seed, self.train_size = binarize, seed, train_size
        self.splits: Splits | None = None

    def load(self) -> Splits:
        """Read the splits, grey, from files that are there by now. Runs on every process."""
        raise NotImplementedError

    def scale(self, images: Tensor) -> Tensor:
        """What the model sees of stored images (B, C, H, W)."""
        return images / 255

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if self.splits is not None:
            return
        train, val, test = self.load()
        if self.train_size is not None:
            if self.train_size > len(train.labels):
                raise ValueError(
                    f"train_size={self.train_size} is more than the {len(train.labels)} training examples: "
                    "take fewer, or null for all"
                )
            train = Examples(train.images[: self.train_size], train.labels[: self.train_size])
        if self.binarize == "static":
            train = train._replace(images=draw_binary(train.images, Stream.TRAIN_PIXELS, self.seed, 0))
        if self.binarize != "none":
            val = val._replace(images=draw_binary(val.images, Stream.VAL_PIXELS))
            test = test._replace(images=draw_binary(test.images, Stream.TEST_PIXELS))
        self.splits = Splits(train, val, test)

    def train_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        examples = self._on_device("train")
        size, device = len(examples.labels), examples.labels.device

        @lru_cache(maxsize=1)
        def images_of(epoch: int) -> Tensor:
            if self.binarize == "dynamic":
                return draw_binary(examples.images, Stream.TRAIN_PIXELS, self.seed, epoch)
            return examples.images

        def fetch(index: Tensor, epoch: int) -> tuple[Tensor, ...]:
            return self.scale(images_of(epoch).index_select(0, index)), examples.labels.index_select(0, index)

        if getattr(self.trainer, "overfit_batches", 0):  # Lightning promises the same batches in each epoch then
            return InMemoryLoader(fetch, SequentialBatches(size, self.batch_size, *self._process, device=device))
        batches = ShuffledBatches(size, self.batch_size, self.seed, *self._process, device=device)
        return self.from_position(TrainingLoader(fetch, batches))

    def val_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        return self._eval_dataloader("val")

    def test_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        return self._eval_dataloader("test")

    def predict_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        return self._eval_dataloader("test", with_ids=True)

    def _eval_dataloader(self, split: str, with_ids: bool = False) -> InMemoryLoader[tuple[Tensor, ...]]:
        images, labels = self._on_device(split)

        def fetch(index: Tensor, epoch: int) -> tuple[Tensor, ...]:
            batch = self.scale(images.index_select(0, index)), labels.index_select(0, index)
            return (*batch, index) if with_ids else batch

        batches = SequentialBatches(len(labels), self.eval_batch_size, *self._process, device=labels.device)
        return InMemoryLoader(fetch, batches)

    @property
    def _process(self) -> tuple[int, int]:
        """This process and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _on_device(self, split: str) -> Examples:
        """A split beside the model; in main memory if it would fill over a quarter of the free GPU memory."""
        if self.splits is None:
            raise ValueError("the data is not loaded yet: call setup() before asking for batches")
        examples: Examples = getattr(self.splits, split)
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        if device.type == "cuda" and examples.images.nbytes > torch.cuda.mem_get_info(device)[0] // 4:
            return examples
        return Examples(examples.images.to(device), examples.labels.to(device))
