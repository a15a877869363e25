"""Loaders of examples that live in memory, where a batch is one indexing operation.

There are no worker processes and no per-example Python.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, Self, TypeVar

from torch import Tensor

from datamodules.index_batches import Batches, EpochBatches

BatchT = TypeVar("BatchT")


class InMemoryLoader(Generic[BatchT]):
    """Serves `fetch(index, epoch)` for each index batch, from the first one at every iteration: for evaluation.

    Args:
        fetch: Makes the batch of the examples `index`, int64 (B,); the epoch is always 0 here.
        batches: The index batches.

    Example:
        >>> from datamodules.index_batches import SequentialBatches
        >>> loader = InMemoryLoader(lambda index, epoch: index + 1, SequentialBatches(3, batch_size=2))
        >>> list(loader)
        [tensor([1, 2]), tensor([3])]
    """

    def __init__(self, fetch: Callable[[Tensor, int], BatchT], batches: Batches) -> None:
        self.fetch, self.batches = fetch, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[BatchT]:
        return (self.fetch(index, 0) for index in self.batches)


class TrainingLoader(InMemoryLoader[BatchT]):
    """Serves an endless sequence of batches, `len(self)` of them at each iteration: for training.

    The sequence runs through the epochs one after the other, and an iteration continues where the last one stopped.
    So the k-th step of a run always sees the same batch, also if the run was resumed, was stopped within an epoch by
    `max_steps`, or has its epochs shortened by `limit_train_batches`. The state is the number of batches served;
    `InMemoryDataModule` keeps it in checkpoints.

    Args:
        fetch: Makes the batch of the examples `index`, int64 (B,), in the given epoch.
        batches: The index batches of an epoch, the same number in each.

    Example:
        >>> from datamodules.index_batches import ShuffledBatches
        >>> loader = TrainingLoader(lambda index, epoch: (epoch, index), ShuffledBatches(6, batch_size=2, seed=0))
        >>> [epoch for epoch, index in loader], [epoch for epoch, index in loader]
        ([0, 0, 0], [1, 1, 1])
    """

    batch_sampler = None  # Lightning asks whatever has a sampler for it too

    def __init__(self, fetch: Callable[[Tensor, int], BatchT], batches: EpochBatches) -> None:
        super().__init__(fetch, batches)
        self._epochs, self._served = batches, 0

    @property
    def sampler(self) -> Self:
        """The object whose `set_epoch` Lightning calls."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Start with this epoch, if nothing was served yet."""
        self._served = self._served or epoch * len(self)

    def __iter__(self) -> Iterator[BatchT]:
        remaining = len(self)
        while remaining:
            epoch, start = divmod(self._served, len(self))
            self._epochs.set_epoch(epoch)
            for index in islice(self._epochs, start, start + remaining):
                self._served += 1
                remaining -= 1
                yield self.fetch(index, epoch)

    def state_dict(self) -> dict[str, int]:
        """The number of batches served so far, and in an epoch."""
        return {"served": self._served, "batches_per_epoch": len(self)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the batches that a state says were served.

        Raises:
            ValueError: If the state is within an epoch that has another number of batches than this loader's.
        """
        epoch, position = divmod(state_dict["served"], state_dict["batches_per_epoch"])
        if position and state_dict["batches_per_epoch"] != len(self):
            raise ValueError(
                f"the checkpoint stopped after {position} of {state_dict['batches_per_epoch']} batches of an epoch, "
                f"and an epoch of this run has {len(self)}: resume with the data, batch_size and number of processes "
                "that it was saved with"
            )
        self._served = epoch * len(self) + position
