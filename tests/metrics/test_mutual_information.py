import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from skipvae.metrics import log_aggregated_posterior, mutual_information
from tests.linear_gaussian import LinearGaussianDecoder


def channel(num_examples: int, latent_dim: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """q(z|x) = N(x, noise^2) of x ~ N(0, 1 - noise^2), so that q(z) = p(z) and I(x; z) = -K ln noise."""
    generator = torch.Generator().manual_seed(seed)
    x, epsilon = torch.randn(2, num_examples, latent_dim, generator=generator, dtype=torch.double)
    mean = x * math.sqrt(1 - noise**2)
    return mean, torch.full_like(mean, 2 * math.log(noise)), mean + noise * epsilon


def any_posteriors(
    num_examples: int, latent_dim: int, seed: int, spread: float = 1.0, offset: float = 0.0
) -> tuple[torch.Tensor, ...]:
    """Posteriors of all widths, and a sample of each."""
    generator = torch.Generator().manual_seed(seed)
    mean, logvar, epsilon = torch.randn(3, num_examples, latent_dim, generator=generator, dtype=torch.double)
    mean, logvar = offset + spread * mean, 2 * logvar - 2
    return mean, logvar, mean + (0.5 * logvar).exp() * epsilon


def double_loop(mean: torch.Tensor, logvar: torch.Tensor, z: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    """Both estimates of each example by their definitions, one pair at a time."""
    posteriors = [Normal(m, (0.5 * v).exp()) for m, v in zip(mean, logvar, strict=True)]
    prior = Normal(torch.zeros_like(mean[0]), torch.ones_like(mean[0]))
    by_kl, by_density = [], []
    for z_n, posterior in zip(z, posteriors, strict=True):
        log_q = torch.stack([q.log_prob(z_n).sum() for q in posteriors]).logsumexp(0) - math.log(len(posteriors))
        by_kl.append(kl_divergence(posterior, prior).sum() - (log_q - prior.log_prob(z_n).sum()))
        by_density.append(posterior.log_prob(z_n).sum() - log_q)
    return torch.stack(by_kl), torch.stack(by_density)


def loop(mean: torch.Tensor, logvar: torch.Tensor, z: torch.Tensor | None) -> torch.Tensor:
    """log q(z_n), one sample at a time."""
    components = Normal(mean, (0.5 * logvar).exp())
    return torch.stack([components.log_prob(z_n).sum(1).logsumexp(0) for z_n in z]) - math.log(len(mean))


@pytest.mark.parametrize(("latent_dim", "noise"), [(1, 0.9), (1, 0.1), (2, 0.5), (8, 0.9)])
def test_linear_gaussian_channel(latent_dim: int, noise: float) -> None:
    estimate = mutual_information(*channel(4000, latent_dim, noise))
    truth = -latent_dim * math.log(noise)
    # the finite mixture counts each sample's own component: a bias of order E[q(z|x) / q(z)] / N
    bias = (1 / noise) ** latent_dim / 4000
    assert 0 < estimate.stderr < 0.05
    assert abs(estimate.mi - truth) < 4 * estimate.stderr + bias
    assert abs(estimate.aggregated_kl) < 4 * estimate.stderr + bias  # q(z) is the prior


def test_standard_error_is_that_of_repetitions() -> None:
    estimates = [mutual_information(*channel(300, 2, 0.5, seed)) for seed in range(200)]
    spread = torch.stack([e.mi for e in estimates]).std()
    claimed = torch.stack([e.stderr for e in estimates]).mean()
    assert claimed == pytest.approx(
        float(spread), rel=0.2
    )  # four times the relative error of a deviation, 1 / sqrt(2 * 200)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), num_examples=st.integers(1, 12), latent_dim=st.integers(1, 5))
def test_agrees_with_the_definition(seed: int, num_examples: int, latent_dim: int) -> None:
    posteriors = any_posteriors(num_examples, latent_dim, seed)
    by_kl, by_density = double_loop(*posteriors)
    found = float(mutual_information(*posteriors).mi)
    if num_examples < 3:
        ends = sorted([float(by_kl.mean()), float(by_density.mean())])
        assert ends[0] - 1e-9 <= found <= ends[1] + 1e-9
        return
    slope, _ = np.polyfit(by_density - by_kl, by_kl, 1)
    share = min(1.0, max(0.0, -slope))
    expected = (1 - share) * by_kl.mean() + share * by_density.mean()
    assert found == pytest.approx(float(expected), abs=1e-7)


@pytest.mark.parametrize("latent_dim", [1, 32])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_exact_at_every_width_and_far_from_zero(latent_dim: int, offset: float) -> None:
    posteriors = any_posteriors(300, latent_dim, seed=1, offset=offset)
    log_q = log_aggregated_posterior(*posteriors)
    torch.testing.assert_close(log_q, loop(*posteriors), atol=1e-9, rtol=0)


@pytest.mark.parametrize("std", [0.9, 0.1, 0.01])
@pytest.mark.parametrize("latent_dim", [1, 32])
def test_fast_is_as_near_as_it_says(std: float, latent_dim: int) -> None:
    posteriors = channel(500, latent_dim, std)
    error = (log_aggregated_posterior(*posteriors, fast=True) - log_aggregated_posterior(*posteriors)).abs()
    assert error.max() < (1e-2 if std == 0.01 else 1e-4)
    assert error.mean() < (1e-3 if std == 0.01 else 1e-5)
    assert error.max() > 0 or latent_dim > 1  # float32 it is; among narrow posteriors of 32 dimensions no others count


def test_fast_is_not_made_coarse_by_autocast() -> None:
    posteriors = channel(200, 8, 0.5)
    expected = log_aggregated_posterior(*posteriors, fast=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(log_aggregated_posterior(*posteriors, fast=True), expected)
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert torch.is_autocast_enabled("cpu")


def test_fast_leaves_the_precision_of_products_as_it_was() -> None:
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = [b.fp32_precision for b in backends]
    try:
        backends[0].fp32_precision, backends[1].fp32_precision = "tf32", "bf16"
        log_aggregated_posterior(*channel(10, 2, 0.5), fast=True)
        assert [b.fp32_precision for b in backends] == ["tf32", "bf16"]
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_fast_does_not_fall_to_tf32() -> None:
    posteriors = [t.cuda() for t in channel(1000, 8, 0.3)]
    exact = log_aggregated_posterior(*posteriors)
    torch.set_float32_matmul_precision("medium")
    try:
        fast = log_aggregated_posterior(*posteriors, fast=True)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert (fast - exact).abs().max() < 1e-4


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("block_size", [1, 7, 50, 99, 100, 1000])
def test_the_block_size_does_not_matter(block_size: int, fast: bool) -> None:
    posteriors = any_posteriors(100, 3, seed=2)
    blocked = log_aggregated_posterior(*posteriors, fast=fast, block_size=block_size)
    whole = log_aggregated_posterior(*posteriors, fast=fast)
    torch.testing.assert_close(blocked, whole, atol=1e-4 if fast else 1e-11, rtol=0)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), spread=st.floats(0.0, 100.0))
def test_mi_is_at_most_ln_n_and_at_least_zero_up_to_noise(seed: int, spread: float) -> None:
    estimate = mutual_information(*any_posteriors(200, 4, seed, spread))
    assert -6 * estimate.stderr <= estimate.mi <= estimate.ceiling + 6 * estimate.stderr
    assert estimate.ceiling == math.log(200)
    torch.testing.assert_close(estimate.mi, estimate.kl - estimate.aggregated_kl)


def test_at_the_ceiling_when_no_posteriors_overlap() -> None:
    n, latent_dim, noise = 2000, 6, 0.01
    estimate = mutual_information(*channel(n, latent_dim, noise))
    assert estimate.mi == pytest.approx(math.log(n), abs=1e-9)
    assert estimate.stderr < 1e-9


def test_zero_when_the_posterior_ignores_the_data() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(500, 3, generator=generator, dtype=torch.double)
    prior = torch.zeros(500, 3)
    assert mutual_information(prior, prior, z).mi.abs() < 1e-12
    elsewhere = mutual_information(prior + 2, prior - 1, 2 + math.exp(-0.5) * z)  # the same q(z|x) for all, not p(z)
    assert elsewhere.mi.abs() < 1e-12
    assert elsewhere.stderr < 1e-12
    assert elsewhere.aggregated_kl == elsewhere.kl > 5


def repeated(channel_of: Any, count: int = 200) -> tuple[torch.Tensor, ...]:
    """The estimate, its claimed error, and what the two plain estimates give, for this many draws: (count,) each."""
    found = []
    for seed in range(count):
        mean, logvar, z = channel_of(seed)
        estimate, log_q = mutual_information(mean, logvar, z), log_aggregated_posterior(mean, logvar, z)
        by_kl = estimate.kl - (log_q - Normal(0.0, 1.0).log_prob(z).sum(1)).mean()
        by_density = (Normal(mean, (0.5 * logvar).exp()).log_prob(z).sum(1) - log_q).mean()
        found.append(torch.stack([estimate.mi, estimate.stderr, by_kl, by_density]))
    return torch.stack(found).unbind(1)


def test_nearly_constant_posteriors_leave_next_to_no_error() -> None:
    def channel_of(seed: int) -> tuple[torch.Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        x, epsilon = torch.randn(2, 500, 2, generator=generator, dtype=torch.double)
        mean = 1.5 + 0.02 * x  # away from the prior, and nearly alike
        return mean, torch.full_like(mean, -1.0), mean + math.exp(-0.5) * epsilon

    mi, claimed, by_kl, by_density = repeated(channel_of)
    truth = 0.5 * 2 * math.log1p(0.02**2 / math.exp(-1.0))  # a Gaussian channel: 0.001 nats
    assert by_kl.std() > 0.05
    assert mi.std() < 1.1 * by_density.std() < 0.01
    assert abs(mi.mean() - truth) < 4 * mi.std() / 200**0.5 + 1 / 500  # the finite mixture, as above
    assert claimed.mean() == pytest.approx(float(mi.std()), rel=0.2)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_combination_is_unbiased_and_no_worse_than_either(mixed: bool) -> None:
    """Probabilistic PCA; mixed: and dimensions where all posteriors are alike, away from the prior."""
    decoder = LinearGaussianDecoder()

    def channel_of(seed: int) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(seed)
        with torch.no_grad():
            posterior = decoder.posterior(decoder.sample(torch.randn(300, 2, dtype=torch.double)))
            mean, logvar = posterior.mean, posterior.logvar
            if mixed:
                mean, logvar = (torch.cat([t, torch.full_like(t, v)], 1) for t, v in ((mean, 1.0), (logvar, -1.0)))
            return mean, logvar, mean + (0.5 * logvar).exp() * torch.randn_like(mean)

    mi, claimed, by_kl, by_density = repeated(channel_of)
    for plain in (by_kl, by_density):
        assert (mi - plain).mean().abs() < 4 * (mi - plain).std() / 200**0.5
        assert mi.std() < 1.1 * plain.std()  # 1.1: two standard errors of a ratio of correlated deviations
    assert claimed.mean() == pytest.approx(float(mi.std()), rel=0.2)


def test_what_is_reported_is_within_what_is_known() -> None:
    estimate = mutual_information(*any_posteriors(50, 3, seed=1))
    assert estimate.bounded() == estimate
    low = estimate._replace(mi=torch.tensor(-0.02).double()).bounded()
    assert (low.mi, low.aggregated_kl) == (0, estimate.kl)
    high = estimate._replace(mi=torch.tensor(5.0).double(), ceiling=math.log(2)).bounded()
    assert high.mi == min(math.log(2), float(estimate.kl))
    assert high.mi + high.aggregated_kl == pytest.approx(float(estimate.kl))


def test_one_example_says_nothing() -> None:
    estimate = mutual_information(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2))
    assert estimate.ceiling == 0
    assert estimate.mi == 0
    assert estimate.stderr.isnan()


def test_one_dimension_that_a_collapsed_one_joins_tells_no_more() -> None:
    mean, logvar, z = channel(500, 1, 0.5)
    collapsed = torch.randn(500, 1, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    padded = [torch.cat([t, extra], 1) for t, extra in ((mean, 0 * mean), (logvar, 0 * mean), (z, collapsed))]
    torch.testing.assert_close(mutual_information(*padded).mi, mutual_information(mean, logvar, z).mi)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_low_precision_input_gives_a_float64_estimate_near_by(dtype: Any, tolerance: float) -> None:
    posteriors = channel(1000, 2, 0.5)
    rounded = mutual_information(*(t.to(dtype) for t in posteriors))
    assert rounded.mi.dtype == torch.float64
    assert rounded.mi == pytest.approx(float(mutual_information(*posteriors).mi), abs=tolerance)
