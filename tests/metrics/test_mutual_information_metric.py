"""The metric of batches and processes; the estimate itself is tested in test_mutual_information.py."""

import math

import pytest
import torch

from skipvae.metrics import AggregatedPosteriorKL, MutualInformation, mutual_information
from skipvae.metrics.mutual_information import _hashes
from tests.metrics.test_mutual_information import any_posteriors


def test_metric_agrees_with_the_function_on_uneven_batches() -> None:
    posteriors = any_posteriors(100, 3, seed=3)
    metric = MutualInformation()
    for batch in zip(*(t.split([1, 60, 0, 39]) for t in posteriors), strict=True):
        metric.update(*batch)
    expected = mutual_information(*posteriors)
    torch.testing.assert_close(metric.compute(), expected.mi, atol=1e-10, rtol=0)
    torch.testing.assert_close(metric.estimate(), expected, atol=1e-10, rtol=0)


def test_a_large_split_is_measured_by_a_subset_that_no_order_changes() -> None:
    posteriors = any_posteriors(1000, 3, seed=9)
    posteriors = (posteriors[0].float(), posteriors[1].float(), posteriors[2].float())  # as a model gives them
    estimates = []
    for order, sizes in ((torch.arange(1000), [1000]), (torch.randperm(1000), [1, 499, 300, 200])):
        metric = MutualInformation(max_examples=200)
        for batch in zip(*(t[order].split(sizes) for t in posteriors), strict=True):
            metric.update(*batch)
            assert sum(map(len, metric.rows)) <= 400
        estimates.append(metric.estimate())
    assert estimates[0] == estimates[1]
    assert estimates[0].num_examples == 200
    assert estimates[0].ceiling == math.log(200)
    used = metric.all_rows()[:, 0, 0]
    assert used.unique().numel() == len(used)
    assert abs(used.mean()) < 4 / len(used) ** 0.5  # no hash prefers some values: the means are standard normal
    whole = MutualInformation(max_examples=None)
    whole.update(*posteriors)
    assert whole.estimate().num_examples == 1000
    with pytest.raises(ValueError, match="takes 2 examples or more"):
        MutualInformation(max_examples=1)


def test_hashes_spread_float32_values_over_all_bits() -> None:
    hashes = _hashes(torch.randn(4096, 3).double()).unique()
    assert len(hashes) == 4096
    share = (hashes < 0).double().mean()
    assert abs(share - 0.5) < 4 * 0.5 / 64
    for bit in (31, 47, 62):
        assert abs(((hashes >> bit) & 1).double().mean() - 0.5) < 4 * 0.5 / 64


def test_forward_measures_the_batch_and_adds_it() -> None:
    posteriors = any_posteriors(100, 3, seed=4)
    metric, other = MutualInformation(), MutualInformation()
    for batch in zip(*(t[:70].split(40) for t in posteriors), strict=True):
        torch.testing.assert_close(metric(*batch), mutual_information(*batch).mi)
    other.update(*(t[70:] for t in posteriors))
    metric.merge_state(other)
    torch.testing.assert_close(metric.compute(), mutual_information(*posteriors).mi)


def test_no_graph_is_kept() -> None:
    posteriors = [t.requires_grad_() for t in any_posteriors(10, 2, seed=8)]
    metric = MutualInformation()
    assert not metric(*posteriors).requires_grad
    assert not metric.rows[0].requires_grad


def test_aggregated_kl_is_the_estimates_part() -> None:
    posteriors = any_posteriors(100, 3, seed=5)
    metric = AggregatedPosteriorKL()
    metric.update(*posteriors)
    assert metric.compute() == metric.estimate().aggregated_kl
    assert metric.compute() == pytest.approx(float(mutual_information(*posteriors).aggregated_kl))  # another order


def test_the_work_is_done_once_until_the_next_update(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, summarise = [], MutualInformation._summarise
    monkeypatch.setattr(MutualInformation, "_summarise", lambda self: calls.append(1) or summarise(self))
    metric = MutualInformation()
    metric.update(*any_posteriors(10, 2, seed=6))
    metric.estimate(), metric.compute(), metric.estimate()
    assert len(calls) == 1
    metric.update(*any_posteriors(10, 2, seed=7))
    assert metric.estimate().ceiling == math.log(20)
    assert len(calls) == 2


def test_bad_input_is_named() -> None:
    a, b = torch.zeros(3, 2), torch.zeros(3, 1)
    with pytest.raises(ValueError, match=r"one shape \(B, K\), got \(3, 2\), \(3, 2\), \(3, 1\)"):
        MutualInformation().update(a, a, b)
    with pytest.raises(ValueError, match=r"one shape \(N, K\) with N >= 1, got \(0, 2\)"):
        mutual_information(a[:0], a[:0], a[:0])
    metric = MutualInformation()
    metric.update(a, a * math.nan, a)
    with pytest.raises(ValueError, match="MutualInformation was given values that are NaN or infinite"):
        metric.compute()
    with pytest.raises(ValueError, match="z drawn from q"):
        mutual_information(torch.randn(9, 2), a[:1].expand(9, 2) - 40, torch.zeros(9, 2) + torch.randn(9, 1))
