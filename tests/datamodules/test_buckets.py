from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.buckets import LengthBuckets
from datamodules.loaders import TrainingLoader

lengths_ = st.lists(st.integers(2, 30), min_size=1, max_size=80).map(torch.tensor)
limits = st.tuples(st.none() | st.integers(1, 9), st.none() | st.integers(30, 90)).filter(lambda pair: any(pair))


def all_ranks(lengths: Any, world_size: int, epoch: int = 0, **options: Any) -> list[LengthBuckets]:
    ranks = [LengthBuckets(lengths, rank=rank, world_size=world_size, **options) for rank in range(world_size)]
    for batches in ranks:
        batches.set_epoch(epoch)
    return ranks


@settings(deadline=None)
@given(lengths=lengths_, limit=limits, exact=st.booleans(), world_size=st.integers(1, 3), seed=st.none() | st.just(3))
def test_batches_keep_their_limits_and_no_sentence_comes_twice(
    lengths: Any, limit: Any, exact: bool, world_size: int, seed: Any
) -> None:
    options = {"batch_size": limit[0], "max_tokens": limit[1], "exact": exact, "seed": seed}
    whole = LengthBuckets(lengths, **options)
    if len(whole) < world_size:
        with pytest.raises(ValueError, match="fewer than the"):
            all_ranks(lengths, world_size, **options)
        return
    parts = [list(batches) for batches in all_ranks(lengths, world_size, epoch=2, **options)]
    seen = torch.cat([index for part in parts for index in part])
    assert len(seen.unique()) == len(seen)
    for index in (index for part in parts for index in part):
        assert limit[0] is None or len(index) <= limit[0]
        assert limit[1] is None or len(index) * lengths[index].max() <= limit[1]
        assert not exact or len(lengths[index].unique()) == 1
    if seed is None:  # evaluation: everything once, in the same batches whatever the number of processes
        assert len(seen) == len(lengths)
        for rank, part in enumerate(parts):
            assert [index.tolist() for index in part] == [index.tolist() for index in whole][rank::world_size]
    else:  # training: equally many everywhere, and fewer than world_size batches left out
        assert len({len(part) for part in parts}) == 1
        assert len(whole) - sum(map(len, parts)) < world_size
    for batches, part in zip(all_ranks(lengths, world_size, **options), parts, strict=True):
        assert len(batches) == len(part)


@given(lengths=lengths_, limit=limits, exact=st.booleans())
def test_batches_are_cut_as_one_by_one(lengths: Any, limit: Any, exact: bool) -> None:
    batch_size, max_tokens = limit
    ends, start, ordered = [], 0, sorted(lengths.tolist())
    for end, length in enumerate(ordered):
        size = end - start
        too_many = size == batch_size or (max_tokens is not None and (size + 1) * length > max_tokens)
        if size and (too_many or (exact and length != ordered[start])):
            ends.append(end)
            start = end
    assert LengthBuckets(lengths, batch_size, max_tokens, exact).ends.tolist() == [*ends, len(ordered)]


def test_every_epoch_has_its_own_order_and_members() -> None:
    batches = LengthBuckets(torch.arange(200) % 5 + 2, batch_size=8, seed=0)
    epochs = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        epochs.append([tuple(index.tolist()) for index in batches])
    assert epochs[0] == epochs[2]
    assert len({frozenset(batch) for batch in epochs[0]} & {frozenset(batch) for batch in epochs[1]}) < 5


def test_over_epochs_no_sentence_is_always_left_out() -> None:
    batches = LengthBuckets(torch.arange(50) + 2, batch_size=10, seed=0, world_size=2)  # 5 batches for 2 processes
    left_out = []
    for epoch in range(20):
        seen = set()
        for rank in range(2):
            batches.rank = rank
            batches.set_epoch(epoch)
            seen |= {i for index in batches for i in index.tolist()}
        left_out.append(frozenset(range(50)) - seen)
    assert {len(left) for left in left_out} == {10}
    assert len(set(left_out)) > 1


def test_padding_is_below_five_percent_of_the_tokens() -> None:
    lengths = torch.distributions.LogNormal(3.0, 0.5).sample((3000,)).long().clamp(1, 200) + 2
    for options in ({"batch_size": 32}, {"max_tokens": 2000}):
        padded = sum(len(index) * int(lengths[index].max()) for index in LengthBuckets(lengths, seed=1, **options))
        assert 1 - int(lengths.sum()) / padded < 0.05


def test_the_processes_of_a_step_get_sentences_of_about_the_same_length() -> None:
    lengths = torch.arange(400) // 4 + 2
    left, right = all_ranks(lengths, 2, batch_size=4, seed=0)
    for one, other in zip(left, right, strict=True):
        assert abs(int(lengths[one].max()) - int(lengths[other].max())) <= 2


def test_a_run_goes_on_in_mid_epoch() -> None:
    def loader() -> TrainingLoader[Any]:
        return TrainingLoader(lambda index, epoch: index.tolist(), LengthBuckets(torch.arange(23), 4, seed=5))

    straight = loader()
    all_batches = [*straight, *straight, *straight]
    resumed = loader()
    resumed.load_state_dict({"served": 8, "batches_per_epoch": 6})
    assert [*resumed] == all_batches[8:14]  # over the end of an epoch


@pytest.mark.parametrize(("options", "message"), [({}, "give batch_size"), ({"max_tokens": 8}, "the 9 of the longest")])
def test_impossible_limits_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LengthBuckets(torch.tensor([3, 9]), **options)


def test_fixed_batches_hold_the_same_sentences_in_every_epoch_in_another_order() -> None:
    def epochs(**options: Any) -> Iterator[Any]:
        batches = LengthBuckets(torch.arange(200) % 5 + 2, batch_size=8, seed=0, **options)
        for epoch in range(2):
            batches.set_epoch(epoch)
            yield [index.tolist() for index in batches]

    for fixed in (False, True):
        first, second = epochs(fixed=fixed)
        assert first != second
        assert (sorted(first) == sorted(second)) == fixed
