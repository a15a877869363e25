"""Batches of examples that live in memory: which examples (index batches), and loaders that slice them out.

An epoch's index batches are known before it starts, and a batch is one indexing operation: there are no worker
processes and no per-example Python. Training batches are equally many on every process. Evaluation never pads or
repeats an example, and its batches are the same however many processes share them.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from datamodules.randomness import Stream, permutation

BatchT = TypeVar("BatchT")


class Batches(Protocol):
    """The index batches of one process: int64 tensors, in order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Tensor]: ...


class EpochBatches(Batches, Protocol):
    """Index batches that differ from epoch to epoch, in all but their number."""

    def set_epoch(self, epoch: int) -> None: ...


class ShuffledBatches:
    """Training batches: a new order every epoch, a pure function of (seed, epoch).

    The order is cut into global batches of `batch_size` x `world_size` examples, and each process takes its part of
    each. Examples that do not fill a global batch are left out of that epoch, or with `drop_last` off make a last,
    shorter one, of equally many examples on each process.

    Args:
        num_examples: Size of the split.
        batch_size: Examples in a batch of one process.
        seed: Of the order.
        rank: This process.
        world_size: Number of processes.
        device: Where the index batches live: that of the data.
        drop_last: Whether a last, shorter batch is left out.

    Raises:
        ValueError: If the split does not fill a single global batch.

    Example:
        >>> batches = ShuffledBatches(10, batch_size=4, seed=0)
        >>> [len(index) for index in batches]
        [4, 4]
        >>> [len(index) for index in ShuffledBatches(10, batch_size=4, seed=0, drop_last=False)]
        [4, 4, 2]
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        drop_last: bool = True,
    ) -> None:
        if batch_size < 1 or num_examples < batch_size * world_size:
            raise ValueError(
                f"batch_size={batch_size} on {world_size} process(es) cannot be filled from {num_examples} "
                f"training examples: use one in 1..{num_examples // world_size}"
            )
        self.num_examples, self.batch_size, self.seed = num_examples, batch_size, seed
        self.rank, self.world_size, self.device = rank, world_size, device
        full, rest = divmod(num_examples // world_size, batch_size)  # of each process
        self.num_used = full * batch_size + (0 if drop_last else rest)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_used // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        order = permutation(self.num_examples, Stream.SHUFFLE, self.seed, self.epoch, device=self.device)
        steps = torch.split(order[: self.num_used * self.world_size], self.batch_size * self.world_size)
        return (step.chunk(self.world_size)[self.rank] for step in steps)


class SequentialBatches:
    """Evaluation batches: the split in order, cut into batches, the last one shorter.

    Whole batches are dealt to the processes in turn: process r of W gets batches r, r + W, r + 2W, ... So every
    example is seen once, and the batches do not depend on the number of processes.

    Args:
        num_examples: Size of the split.
        batch_size: Examples in a batch.
        rank: This process.
        world_size: Number of processes.
        device: Where the index batches live: that of the data.

    Raises:
        ValueError: If there are fewer batches than processes (a process without any would hang the others).

    Example:
        >>> [index.tolist() for index in SequentialBatches(5, batch_size=2, rank=0, world_size=2)]
        [[0, 1], [4]]
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch_size < 1 or -(-num_examples // batch_size) < world_size:
            raise ValueError(
                f"eval_batch_size={batch_size} cuts {num_examples} examples into fewer batches than there are "
                f"processes ({world_size}): use one in 1..{num_examples // world_size}"
            )
        self.num_examples, self.batch_size = num_examples, batch_size
        self.rank, self.world_size, self.device = rank, world_size, device

    def __len__(self) -> int:
        return len(range(self.rank * self.batch_size, self.num_examples, self.world_size * self.batch_size))

    def __iter__(self) -> Iterator[Tensor]:
        batches = torch.split(torch.arange(self.num_examples, device=self.device), self.batch_size)
        return iter(batches[self.rank :: self.world_size])


class InMemoryLoader(Generic[BatchT]):
    """Serves `fetch(index, epoch)` for each index batch, from the first one at every iteration: for evaluation.

    Args:
        fetch: Makes the batch of the examples `index`, int64 (B,); the epoch is always 0 here.
        batches: The index batches.

    Example:
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

    The sequence goes through the epochs one after the other, and an iteration goes on where the last one stopped,
    wherever that was. So the k-th step of a run always sees the same batch: also in a run that was resumed, that
    `max_steps` had stopped within an epoch, or that `limit_train_batches` makes turn over early. The state is the
    number of batches served; `ResumableDataModule` keeps it in checkpoints.

    Args:
        fetch: Makes the batch of the examples `index`, int64 (B,), in the given epoch.
        batches: The index batches of an epoch, equally many in each.

    Example:
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
        """What Lightning calls `set_epoch` of."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Begin with this epoch, if nothing was served yet."""
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
        """The batches served so far, and how many an epoch has."""
        return {"served": self._served, "batches_per_epoch": len(self)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there.

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


class ResumableDataModule(LightningDataModule):
    """Keeps the position of the training data in checkpoints, so that a resumed run sees the batches it would have.

    Lightning restores the state of a data module before anything asks for batches; that of a loader only if the
    checkpoint was written within an epoch, and not if the optimizer has asked for the number of steps by then.
    """

    _position: dict[str, int] | None = None
    _training: TrainingLoader[Any] | None = None

    def setup(self, stage: str | None = None) -> None:
        """Forget the position of an earlier training before another; an evaluation leaves it as it is."""
        if stage in ("fit", None):
            self._position = self._training = None

    def from_position(self, loader: TrainingLoader[BatchT]) -> TrainingLoader[BatchT]:
        """The loader, at the position of the checkpoint, or of the loader that Lightning replaces by it."""
        reloads = getattr(self.trainer, "reload_dataloaders_every_n_epochs", 0)
        if reloads and self._training is not None:
            self._position = self._training.state_dict()
        if self._position is not None:
            loader.load_state_dict(self._position)
            self._position = None
        self._training = loader
        return loader

    def state_dict(self) -> dict[str, int]:
        """That of the training loader."""
        return {} if self._training is None else self._training.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Take the position for the training loader to come."""
        self._position = state_dict
