"""Batches of sentences of similar length, which need little padding."""

from collections.abc import Iterator

import torch
from torch import Tensor

from datamodules.randomness import Stream, permutation


class LengthBuckets:
    """Index batches of sentences sorted by length, for training and for evaluation.

    The sorted sentences are cut into batches of at most `batch_size` sentences and `max_tokens` tokens, padding
    included. The cuts depend on the lengths only, so every epoch has the same number of batches.

    In training, each epoch shuffles sentences of the same length, and the order of the batches; with `fixed`, the
    batches hold the same sentences in every epoch, and only their order changes. In a step, the processes get batches
    of similar length, so that none waits for another. If the number of batches is no multiple of `world_size`, the
    remainder is left out, different batches in each epoch.

    In evaluation, the batches are always the same and are distributed in turn: process r of W gets batches r, r + W,
    ...; so each sentence is seen once, and the batches do not depend on the number of processes.

    Args:
        lengths: int64 (N,), the number of tokens of each sentence.
        batch_size: Maximum number of sentences in a batch.
        max_tokens: Maximum number of tokens in a batch.
        exact: Whether all sentences of a batch have the same length (the authors' option: no padding at all).
        seed: Seed of the order; None for evaluation.
        rank: This process.
        world_size: Number of processes.
        fixed: Whether a training batch holds the same sentences in every epoch (the authors' batches).

    Raises:
        ValueError: If no limit is given, a sentence is longer than max_tokens, or there are fewer batches than
            processes.

    Example:
        >>> lengths = torch.tensor([5, 3, 3, 9])
        >>> sorted(index.tolist() for index in LengthBuckets(lengths, batch_size=2))
        [[0, 3], [1, 2]]
        >>> sorted(len(index) for index in LengthBuckets(lengths, batch_size=2, exact=True))
        [1, 1, 2]
    """

    def __init__(
        self,
        lengths: Tensor,
        batch_size: int | None = None,
        max_tokens: int | None = None,
        exact: bool = False,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        fixed: bool = False,
    ) -> None:
        if batch_size is None and max_tokens is None:
            raise ValueError("batches need a limit: give batch_size, max_tokens, or both")
        if max_tokens is not None and len(lengths) and max_tokens < int(lengths.max()):
            raise ValueError(f"max_tokens={max_tokens} is less than the {int(lengths.max())} of the longest sentence")
        self.lengths, self.seed, self.rank, self.world_size, self.epoch = lengths, seed, rank, world_size, 0
        self.fixed = fixed
        self.ends = _cut(lengths, batch_size, max_tokens, exact)  # of the batches among the sorted sentences
        if len(self.ends) < world_size:
            raise ValueError(
                f"{len(lengths)} sentences make {len(self.ends)} batches, fewer than the {world_size} processes: "
                "use smaller batches (batch_size, or eval_batch_size for validation and test) or more sentences"
            )

    def set_epoch(self, epoch: int) -> None:
        """Switch to the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.seed is not None:
            return len(self.ends) // self.world_size
        return len(range(self.rank, len(self.ends), self.world_size))

    def __iter__(self) -> Iterator[Tensor]:
        total = len(self.ends)
        if self.seed is None:
            # in a fixed random order, so that the first batches of a split are not its shortest sentences
            order = permutation(total, Stream.BUCKETS)
            return self._batches(self.lengths.argsort(stable=True), order[self.rank :: self.world_size])
        shuffled = permutation(len(self.lengths), Stream.SHUFFLE, self.seed, 0 if self.fixed else self.epoch)
        kept = permutation(total, Stream.BUCKETS, self.seed, self.epoch, 0)[: len(self) * self.world_size]
        steps = kept.sort().values.view(len(self), self.world_size)
        steps = steps[permutation(len(self), Stream.BUCKETS, self.seed, self.epoch, 1)]
        return self._batches(shuffled[self.lengths[shuffled].argsort(stable=True)], steps[:, self.rank])

    def _batches(self, ordered: Tensor, numbers: Tensor) -> Iterator[Tensor]:
        """The batches of these numbers, of sentences ordered by length."""
        starts = torch.cat([self.ends.new_zeros(1), self.ends[:-1]])
        for start, end in zip(starts[numbers].tolist(), self.ends[numbers].tolist(), strict=True):
            yield ordered[start:end]


def _cut(lengths: Tensor, batch_size: int | None, max_tokens: int | None, exact: bool) -> Tensor:
    """The ends of consecutive batches of the sentences sorted by length: int64 (number of batches,)."""
    counts = torch.bincount(lengths)
    cuts: list[Tensor] = []
    start = first = 0  # of the batch that is not full yet; of the sentences of this length
    for length in counts.nonzero().squeeze(1).tolist():
        end = first + int(counts[length])
        limit = min(batch_size or end, end if max_tokens is None else max_tokens // length)
        new = first if exact and first > start else max(first, start + limit)
        if new < end and new > start:
            cuts.append(torch.arange(new, end, limit))
            start = int(cuts[-1][-1])
        first = end
    return torch.cat([*cuts, torch.tensor([first] if first else [], dtype=torch.int64)])
