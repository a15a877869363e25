from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.randomness import Stream, normal, permutation, random_words, uniform


def splitmix64(state: int) -> int:
    """One output of SplitMix64 in plain Python, for comparison."""
    word = (state + 0x9E3779B97F4A7C15) % 2**64
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


def test_the_first_outputs_of_splitmix64_seeded_with_zero() -> None:
    # the published test vector of the generator: its state grows by the same step that the counter is multiplied with
    assert splitmix64(0) == 0xE220A8397B1DCDAF
    assert [int(word) % 2**64 for word in random_words(torch.arange(2))] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


@settings(deadline=None)
@given(first=st.integers(0, 2**63 - 1), second=st.integers(0, 2**20))
def test_each_counter_is_one_level_of_splitmix64(first: int, second: int) -> None:
    step = 0x9E3779B97F4A7C15
    expected = splitmix64((splitmix64(first * step % 2**64) + second * step) % 2**64)
    assert int(random_words(first, second)) % 2**64 == expected


@pytest.mark.parametrize("counters", [(3, 1), (3, 2), (4, 1)])
def test_all_bits_are_fair_and_independent_between_neighbours(counters: Any) -> None:
    n = 50_000
    bits = (random_words(*counters, torch.arange(n))[:, None] >> torch.arange(64)) & 1
    signs = (2 * bits - 1).double()  # (n, 64), mean 0 and variance 1 if fair
    assert signs.mean(0).abs().max() < 5 / n**0.5
    within = signs.T @ signs / n - torch.eye(64)  # between the bits of one word
    next_word = signs[:-1].T @ signs[1:] / n  # and with those of the next
    assert within.abs().max() < 5.5 / n**0.5  # 4,096 comparisons: 5.5 standard errors
    assert next_word.abs().max() < 5.5 / n**0.5


def test_words_of_different_counters_are_uncorrelated() -> None:
    n = 20_000
    signs = torch.stack(
        [random_words(stream, epoch, torch.arange(n)) for stream in Stream for epoch in range(6)]
    ).sign()
    correlation = signs.double() @ signs.double().T / n - torch.eye(len(signs))
    assert correlation.abs().max() < 5 / n**0.5


@settings(deadline=None)
@given(size=st.integers(1, 200), seed=st.integers(0, 2**40))
def test_permutation_holds_every_number_once(size: int, seed: int) -> None:
    assert permutation(size, seed).sort().values.tolist() == list(range(size))


def test_permutations_put_every_number_everywhere_equally_often() -> None:
    orders = torch.stack([permutation(6, seed) for seed in range(6000)])
    counts = torch.stack([(orders == number).sum(0) for number in range(6)])  # expected 1000, 25 degrees of freedom
    assert ((counts - 1000) ** 2 / 1000).sum() < 60  # exceeded with probability 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_words_and_orders() -> None:
    counters = torch.arange(10_000)
    assert random_words(1, 2, counters.cuda()).cpu().equal(random_words(1, 2, counters))
    assert permutation(10_000, 7, device="cuda").cpu().equal(permutation(10_000, 7))


def test_numbers_are_uniform_and_normal() -> None:
    n = 100_000
    for numbers, distribution in [
        (uniform(1, torch.arange(n)), torch.distributions.Uniform(0.0, 1.0)),
        (normal(1, torch.arange(n)), torch.distributions.Normal(0.0, 1.0)),
    ]:
        assert numbers.dtype == torch.float64
        observed = distribution.cdf(numbers.sort().values)
        expected = (torch.arange(n) + 0.5) / n
        assert (observed - expected).abs().max() < 2.2 / n**0.5  # Kolmogorov: exceeded with probability 1e-4


def test_the_ends_of_the_interval_are_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    words = torch.tensor([0, -1])  # the smallest and the largest, as unsigned numbers
    monkeypatch.setattr("datamodules.randomness.random_words", lambda *counters: words)
    assert [float(number) for number in uniform()] == [2.0**-53, 1 - 2.0**-53]
    assert normal().isfinite().all()
