"""Which examples make a batch: index batches of a split, for training and for evaluation.

An epoch's index batches are known before it starts. In training, every process gets the same number of them. In
evaluation, nothing is padded or repeated, and the batches are the same for every number of processes.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from datamodules.randomness import Stream, permutation


class Batches(Protocol):
    """The index batches of one process: int64 tensors, in order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Tensor]: ...


class EpochBatches(Batches, Protocol):
    """Index batches that differ from epoch to epoch, except in their number."""

    def set_epoch(self, epoch: int) -> None: ...


class ShuffledBatches:
    """Training batches: a new order every epoch, a pure function of (seed, epoch).

    The order is cut into global batches of `batch_size` x `world_size` examples, and each process takes its part of
    each. Examples that do not fill a global batch are left out of that epoch, or, if `drop_last` is off, make a last,
    shorter batch, with the same number of examples on each process.

    Args:
        num_examples: Size of the split.
        batch_size: Examples in a batch of one process.
        seed: Seed of the order.
        rank: This process.
        world_size: Number of processes.
        device: Device of the index batches: that of the data.
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
        """Switch to the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_used // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        order = permutation(self.num_examples, Stream.SHUFFLE, self.seed, self.epoch, device=self.device)
        steps = torch.split(order[: self.num_used * self.world_size], self.batch_size * self.world_size)
        return (step.chunk(self.world_size)[self.rank] for step in steps)


class SequentialBatches:
    """Evaluation batches: the split in order, cut into batches, the last one shorter.

    Whole batches are distributed over the processes in turn: process r of W gets batches r, r + W, r + 2W, ... So every
    example is seen once, and the batches do not depend on the number of processes.

    Args:
        num_examples: Size of the split.
        batch_size: Examples in a batch.
        rank: This process.
        world_size: Number of processes.
        device: Device of the index batches: that of the data.

    Raises:
        ValueError: If there are fewer batches than processes (the others would wait forever for one without any).

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
