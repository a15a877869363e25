"""The base of the data modules whose examples are one tensor: images, and rows of tables."""

from collections.abc import Hashable, Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import torch
from torch import Tensor

from datamodules.duplicates import duplicate_fractions, hashes_of, report_duplicates
from datamodules.in_memory import InMemoryDataModule, check_sizes, check_train_size
from datamodules.index_batches import SequentialBatches, ShuffledBatches
from datamodules.loaders import InMemoryLoader, TrainingLoader
from datamodules.randomness import Stream, permutation


class Splits(NamedTuple):
    """The three splits of a data set, each a named tuple of examples (N, ...) and labels (N,)."""

    train: Any
    val: Any
    test: Any


class TensorDataModule(InMemoryDataModule):
    """Examples held as one tensor, beside the model, and batched by slicing.

    Batches are `(x, label)`, float32 (B, ...) and int64 (B,), -1 where there are no labels. Batches to predict from are
    `(x, label, id)` over the test split, with id int64 (B,).

    A subclass writes `load`.

    Args:
        batch_size: Training examples per process and step.
        eval_batch_size: Examples in a batch of validation, test and prediction.
        seed: Seed of the training order.
        train_size: Train on the first train_size examples only (all by default).
        drop_last: Whether examples that do not fill a training batch are left out of the epoch, different ones in each;
            else they make a last, shorter batch.

    Raises:
        ValueError: If an argument is outside its range, or what is loaded cannot be used; says what to do.
    """

    def __init__(
        self,
        batch_size: int = 50,
        eval_batch_size: int = 100,
        seed: int = 0,
        train_size: int | None = None,
        drop_last: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(batch_size=batch_size, eval_batch_size=eval_batch_size, train_size=train_size)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.seed, self.train_size, self.drop_last = seed, train_size, drop_last
        self.splits: Splits | None = None

    # -- of a kind of data ------------------------------------------------------------------------------------------

    def load(self) -> Splits:
        """Read the splits, from files that exist by now. Runs on every process."""
        raise NotImplementedError

    def checked(self, loaded: Any) -> Splits:
        """The loaded splits as tensors.

        Raises:
            ValueError: If they cannot be used; says what to do.
        """
        splits: Splits = loaded
        return splits

    def prepared(self, splits: Splits) -> Splits:
        """The splits as they are kept, after their contents have been compared."""
        return splits

    def of_epoch(self, split: str, stored: Tensor, epoch: int) -> Tensor:
        """The examples (N, ...) of an epoch."""
        return stored

    def scale(self, stored: Tensor) -> Tensor:
        """Stored examples (B, ...) as the model sees them."""
        return stored

    def ids(self, split: str, index: Tensor) -> Tensor:
        """The ids of the examples at these rows of a split, int64 (B,)."""
        return index

    def contents(self, split: str, examples: Any) -> Iterable[Hashable]:
        """The content of each example of a split, by which examples that are in two splits are found."""
        return (example.tobytes() for example in examples[0].numpy())

    def members(self, train: Any) -> Iterable[bytes]:
        """An identity of each training example that lasts from one start to the next; none: they are not compared."""
        return ()

    # -- the same for all -------------------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if self.splits is not None:
            return
        splits = loaded = self.checked(self.load())
        if self.train_size is not None:
            check_train_size(self.train_size, len(loaded.train[1]))
            splits = loaded._replace(train=type(loaded.train)(*(part[: self.train_size] for part in loaded.train)))
        hashes = map(hashes_of, map(self.contents, Splits._fields, splits))
        for name, fraction in duplicate_fractions(*hashes).items():
            num_examples = len(getattr(loaded, name)[1])
            self.split_facts[name] = {"num_examples": num_examples, "duplicate_fraction": fraction}
        report_duplicates(self.split_facts)
        digest = blake2b(digest_size=12)
        for member in self.members(splits.train):
            digest.update(member)
        self.training_digest = digest.hexdigest()
        self.splits = self.prepared(splits)

    def _loader(self, split: str, shuffled: bool = False, with_ids: bool = False) -> InMemoryLoader[tuple[Tensor, ...]]:
        stored, labels = self._on_device(split)

        @lru_cache(maxsize=1)
        def examples_of(epoch: int) -> Tensor:
            return self.of_epoch(split, stored, epoch)

        def fetch(index: Tensor, epoch: int) -> tuple[Tensor, ...]:
            batch = self.scale(examples_of(epoch).index_select(0, index)), labels.index_select(0, index)
            return (*batch, self.ids(split, index)) if with_ids else batch

        size, process, device = len(labels), self._rank_and_world_size, labels.device
        if shuffled:
            shuffled_batches = ShuffledBatches(size, self.batch_size, self.seed, *process, device, self.drop_last)
            return TrainingLoader(fetch, shuffled_batches)
        batch_size = self.batch_size if split == "train" else self.eval_batch_size
        return InMemoryLoader(fetch, SequentialBatches(size, batch_size, *process, device=device))

    def _on_device(self, split: str) -> Any:
        """A split on the model's device; in main memory if it would fill over a quarter of the free GPU memory."""
        if self.splits is None:
            raise ValueError("the data is not loaded yet: call setup() before asking for batches")
        examples = getattr(self.splits, split)
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        if device.type == "cuda" and examples[0].nbytes > torch.cuda.mem_get_info(device)[0] // 4:
            return examples
        return type(examples)(*(part.to(device) for part in examples))


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Raise a ValueError unless both splits get something and something is left."""
    if min(val_fraction, test_fraction) <= 0 or val_fraction + test_fraction >= 1:
        raise ValueError("val_fraction and test_fraction must be above 0, and leave something to train on")


def draw_splits(num_examples: int, fractions: dict[str, float], seed: int) -> dict[str, Tensor]:
    """Rows of the splits that are drawn from the training examples, and of those that are left.

    Args:
        num_examples: Size N of the whole.
        fractions: Of each split to draw: test, val, or both.
        seed: Of the choice.

    Returns:
        Row numbers, int64, of each split and of `train`; in the order of the data where nothing is drawn.

    Raises:
        ValueError: If nothing is left to train on.

    Example:
        >>> {name: len(rows) for name, rows in draw_splits(20, {"test": 0.25, "val": 0.1}, seed=0).items()}
        {'test': 5, 'val': 2, 'train': 13}
    """
    rows = permutation(num_examples, Stream.SPLIT, seed) if fractions else torch.arange(num_examples)
    splits: dict[str, Tensor] = {}
    for name in (name for name in ("test", "val") if name in fractions):
        size = max(1, round(fractions[name] * num_examples))
        splits[name], rows = rows[:size], rows[size:]
    if not len(rows):
        raise ValueError(f"{num_examples} examples are too few for three splits")
    return {**splits, "train": rows}
