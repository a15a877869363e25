from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skipvae.metrics import ActiveUnits, active_units, posterior_mean_variances


def means(num_examples: int, standard_deviations: Any, seed: int = 0, offset: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.as_tensor(standard_deviations, dtype=torch.double)
    return offset + scale * torch.randn(num_examples, len(scale), generator=generator, dtype=torch.double)


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(sum),
    seed=st.integers(0, 2**31),
    threshold=st.floats(0.0, 0.2),
)
def test_agrees_with_numpy_on_uneven_batches(sizes: Any, seed: int, threshold: float) -> None:
    mean = means(sum(sizes), [0.0, 0.05, 0.1, 0.2, 1.0], seed)
    metric = ActiveUnits(threshold)
    for batch in mean.split(sizes):
        metric.update(batch)
    variances = mean.numpy().var(axis=0)
    np.testing.assert_allclose(metric.variances(), variances, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(posterior_mean_variances(mean), variances, rtol=1e-12, atol=1e-15)
    assert metric.compute() == active_units(mean, threshold) == int((variances > threshold).sum())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_counts_far_from_zero_and_in_low_precision(dtype: Any) -> None:
    # the spacing of the dtype at the offset stays under the spread, or the input itself would hold no variance
    offset = {torch.float64: 1e4, torch.float32: 1e2, torch.bfloat16: 1.0}[dtype]
    mean = means(3000, [0.5, 0.2, 0.02, 0.0], offset=offset).to(dtype)
    metric = ActiveUnits()
    for batch in mean.split([1, 1999, 1000]):
        metric.update(batch)
    assert metric.compute() == 2
    np.testing.assert_allclose(metric.variances(), mean.double().numpy().var(axis=0), rtol=1e-9, atol=1e-12)


def test_tiny_variances_far_from_zero_are_neither_lost_nor_invented() -> None:
    mean = means(4000, [1e-4, 0.0], offset=1e4)
    metric = ActiveUnits(threshold=0.9e-8)
    for batch in mean.split(64):
        metric.update(batch)
    assert metric.compute() == 1
    np.testing.assert_allclose(metric.variances(), (mean - 1e4).numpy().var(axis=0), rtol=1e-6, atol=1e-20)


def test_threshold_is_strict_and_decides() -> None:
    mean = torch.tensor([[0.125, 0.5], [-0.125, -0.5]])  # variances 1/64 and 1/4
    assert [int(active_units(mean, t)) for t in (0.0, 0.015, 1 / 64, 0.24, 0.25)] == [2, 2, 1, 1, 0]
    assert ActiveUnits(0.02)(mean) == 1
    assert ActiveUnits()(mean) == 2


def test_one_example_has_no_variance() -> None:
    metric = ActiveUnits(threshold=0.0)
    metric.update(torch.tensor([[3.0, -1.0]]))
    assert metric.compute() == 0
    assert metric.variances().tolist() == [0.0, 0.0]


def test_one_dimension_keeps_its_shape() -> None:
    metric = ActiveUnits()
    metric.update(torch.tensor([[3.0], [1.0]]))
    assert metric.variances().tolist() == [1.0]


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        ActiveUnits(threshold=-0.01)
    with pytest.raises(ValueError, match=r"\(B, K\), got \(3,\)"):
        ActiveUnits().update(torch.zeros(3))
    metric = ActiveUnits()
    metric.update(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match="ActiveUnits was given values that are NaN"):
        metric.compute()
