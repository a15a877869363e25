from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skipvae.metrics import DatasetMean, KLPerDimension, moments

SIZES = st.lists(st.integers(0, 7), min_size=1, max_size=8).filter(sum)
SEEDS = st.integers(0, 2**31)


def data(num_examples: int, *shape: Any, seed: int = 0, offset: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return offset + scale * torch.randn(num_examples, *shape, generator=generator, dtype=torch.double)


@settings(deadline=None)
@given(sizes=SIZES, seed=SEEDS, shape=st.sampled_from([(), (1,), (3,)]))
def test_uneven_batches_give_what_numpy_gives_on_all(sizes: Any, seed: Any, shape: Any) -> None:
    x = data(sum(sizes), *shape, seed=seed)
    metric = DatasetMean()
    for batch in x.split(sizes):
        metric.update(batch)
    metric.compute()
    n, mean, variance = metric.moments()
    assert n == len(x)
    np.testing.assert_allclose(mean, x.numpy().mean(0), atol=1e-14)
    np.testing.assert_allclose(variance, x.numpy().var(0), rtol=1e-12, atol=1e-14)
    if n > 1:
        expected = x.numpy().std(0, ddof=1) / len(x) ** 0.5
        np.testing.assert_allclose(metric.standard_error(), expected, rtol=1e-12, atol=1e-14)


@settings(deadline=None)
@given(sizes=SIZES, seed=SEEDS, how=st.sampled_from(["forward", "merge_state"]))
def test_forward_and_merge_state_are_exact_and_keep_one_row(sizes: Any, seed: Any, how: Any) -> None:
    x = data(sum(sizes), 2, seed=seed)
    metric = DatasetMean()
    for batch in x.split(sizes):
        if how == "merge_state":
            other = DatasetMean()
            other.update(batch)
            metric.merge_state(other)
            metric._update_count += 1  # torchmetrics warns of a metric that has only been merged into
        elif len(batch):
            torch.testing.assert_close(metric(batch), batch.mean(0))
    assert len(metric.rows) == 1
    torch.testing.assert_close(metric.moments(), moments(x))


def test_float32_sums_do_not_lose_small_values() -> None:
    metric = DatasetMean()
    for _ in range(100):
        metric.update(torch.full((1000,), 0.1))
    metric.update(torch.full((1,), 2.0**24))
    expected = (1e5 * float(torch.tensor(0.1)) + 2.0**24) / (1e5 + 1)
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-14)


def test_variance_survives_far_from_zero() -> None:
    x = data(5000, 2, offset=1e6, scale=1e-4)
    metric = DatasetMean()
    for batch in x.split(37):
        metric.update(batch)
    np.testing.assert_allclose(metric.moments().variance, (x - 1e6).numpy().var(0), rtol=1e-6)


def test_one_example_has_a_mean_and_no_standard_error() -> None:
    metric = DatasetMean()
    metric.update(torch.tensor([3.0]))
    assert metric.compute() == 3.0
    assert metric.standard_error().isnan()


def test_reset_forgets() -> None:
    metric = DatasetMean()
    metric.update(torch.tensor([100.0, 200.0]))
    assert metric.compute() == 150.0
    metric.reset()
    metric.update(torch.tensor([1.0, 2.0]))
    assert metric.compute() == 1.5
    assert metric.standard_error() == 0.5


def test_precision_survives_a_model_in_bfloat16() -> None:
    metric = torch.nn.ModuleList([DatasetMean()]).to(torch.bfloat16)[0]
    metric.update(torch.tensor([1.0, 1.001], dtype=torch.double))
    assert metric.compute() == 1.0005


def test_update_is_cut_off_from_the_graph() -> None:
    x = torch.ones(2, requires_grad=True)
    metric = DatasetMean()
    metric.update(x)
    metric(x)
    assert not metric.compute().requires_grad


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_named_once_asked(bad: Any) -> None:
    metric = DatasetMean()
    metric.update(torch.tensor([1.0, bad]))
    metric.update(torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"DatasetMean was given values that are NaN or infinite.*learning rate"):
        metric.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_examples_are_an_error() -> None:
    metric = DatasetMean()
    with pytest.raises(ValueError, match="no examples: call update"):
        metric.compute()
    metric.update(torch.zeros(0))
    with pytest.raises(ValueError, match="no examples: call update"):
        metric.compute()


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="one value per example"):
        DatasetMean().update(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"\(B, K\), got \(3,\)"):
        KLPerDimension().update(torch.zeros(3))
