from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.index_batches import SequentialBatches, ShuffledBatches

sizes = {"num_examples": st.integers(1, 60), "batch_size": st.integers(1, 9), "world_size": st.integers(1, 4)}


@settings(deadline=None)
@given(**sizes, seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_training_batches_of_several_processes_are_the_parts_of_global_ones(
    num_examples: Any, batch_size: Any, world_size: Any, seed: int, epoch: int
) -> None:
    if num_examples < batch_size * world_size:
        with pytest.raises(ValueError, match="batch_size"):
            ShuffledBatches(num_examples, batch_size, seed, 0, world_size)
        return
    ranks = [ShuffledBatches(num_examples, batch_size, seed, rank, world_size) for rank in range(world_size)]
    whole = ShuffledBatches(num_examples, batch_size * world_size, seed)
    for batches in [*ranks, whole]:
        batches.set_epoch(epoch)
    parts = [list(batches) for batches in ranks]
    assert {len(batches) for batches in ranks} == {len(part) for part in parts} == {len(whole)}
    assert all(index.shape == (batch_size,) for part in parts for index in part)
    assert [torch.cat(batch).tolist() for batch in zip(*parts, strict=True)] == [index.tolist() for index in whole]
    seen = torch.cat(list(whole))
    assert len(seen.unique()) == len(seen) > num_examples - batch_size * world_size
    assert seen.max() < num_examples


@settings(deadline=None)
@given(**sizes, epoch=st.integers(0, 3))
def test_a_last_shorter_training_batch_is_kept_where_it_is_asked_for(
    num_examples: Any, batch_size: Any, world_size: Any, epoch: int
) -> None:
    if num_examples < batch_size * world_size:
        return
    arguments = [(num_examples, batch_size, 1, rank, world_size) for rank in range(world_size)]
    ranks = [ShuffledBatches(*of_rank, drop_last=False) for of_rank in arguments]
    full = ShuffledBatches(*arguments[0])
    for batches in [*ranks, full]:
        batches.set_epoch(epoch)
    steps = list(zip(*ranks, strict=True))  # the parts of the processes, equally many
    assert [len(part) for part in steps[0]] == [batch_size] * world_size
    assert all(len({len(part) for part in step}) == 1 for step in steps)
    assert [step[0].tolist() for step in steps][: len(full)] == [index.tolist() for index in full]
    assert len(steps) - len(full) in (0, 1)
    assert {len(batches) for batches in ranks} == {len(steps)}
    seen = torch.cat([part for step in steps for part in step])
    assert len(seen.unique()) == len(seen) == num_examples - num_examples % world_size


def test_every_epoch_and_seed_has_its_own_order() -> None:
    batches = ShuffledBatches(100, 100, seed=0)
    first = next(iter(batches))
    assert next(iter(batches)).equal(first)
    batches.set_epoch(1)
    assert not next(iter(batches)).equal(first)
    assert not next(iter(ShuffledBatches(100, 100, seed=1))).equal(first)


@settings(deadline=None)
@given(**sizes)
def test_evaluation_batches_are_dealt_whole_and_never_padded(
    num_examples: Any, batch_size: Any, world_size: Any
) -> None:
    whole = [index.tolist() for index in SequentialBatches(num_examples, batch_size)]
    assert [example for batch in whole for example in batch] == list(range(num_examples))
    if len(whole) < world_size:
        with pytest.raises(ValueError, match="eval_batch_size"):
            SequentialBatches(num_examples, batch_size, 0, world_size)
        return
    for rank in range(world_size):
        batches = SequentialBatches(num_examples, batch_size, rank, world_size)
        part = [index.tolist() for index in batches]
        assert len(batches) == len(part)
        assert part == whole[rank::world_size]


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batches_hold_at_least_one_example(batch_size: int) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        ShuffledBatches(10, batch_size, seed=0)
    with pytest.raises(ValueError, match="batch_size"):
        SequentialBatches(10, batch_size)
