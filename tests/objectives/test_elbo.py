from typing import Any

import pytest
import torch

from skipvae.objectives.elbo import Elbo, elbo, importance_weighted_log_likelihood, training_loss
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from tests.linear_gaussian import LinearGaussianDecoder


@pytest.fixture
def ppca() -> tuple[Any, torch.Tensor]:
    torch.manual_seed(0)
    decoder = LinearGaussianDecoder()
    with torch.no_grad():
        x = decoder.sample(torch.randn(40, 2, dtype=torch.double))
    return decoder, x


def widened(posterior: DiagonalGaussian) -> DiagonalGaussian:
    return DiagonalGaussian(posterior.mean + 0.2, posterior.logvar + 0.5)


def test_elbo_is_the_likelihood_less_the_divergence_to_the_exact_posterior(ppca: tuple[Any, torch.Tensor]) -> None:
    decoder, x = ppca
    exact, q = decoder.posterior(x), widened(decoder.posterior(x))
    n = 4000
    with torch.no_grad():
        draws = torch.stack([elbo(decoder, x, q).elbo for _ in range(n)])
    normal = torch.distributions.Normal
    gap = torch.distributions.kl_divergence(
        normal(q.mean, (0.5 * q.logvar).exp()), normal(exact.mean, (0.5 * exact.logvar).exp())
    ).sum(-1)
    error = (draws.mean(0) - (decoder.log_likelihood(x) - gap)).abs()
    assert (error < 5 * draws.std(0) / n**0.5).all()


def test_importance_weighted_bound_is_exact_with_the_exact_posterior(ppca: tuple[Any, torch.Tensor]) -> None:
    decoder, x = ppca
    bound = importance_weighted_log_likelihood(decoder, x, decoder.posterior(x), num_samples=1)
    torch.testing.assert_close(bound, decoder.log_likelihood(x))


@torch.no_grad()
def test_importance_weighted_bound_rises_to_the_likelihood(ppca: tuple[Any, torch.Tensor]) -> None:
    decoder, x = ppca
    q, truth = widened(decoder.posterior(x)), decoder.log_likelihood(x).mean()
    repeats = 100
    means, errors = [], []
    for num_samples in (1, 5, 50):
        bounds = torch.stack(
            [importance_weighted_log_likelihood(decoder, x, q, num_samples).mean() for _ in range(repeats)]
        )
        means.append(bounds.mean())
        errors.append(bounds.std() / repeats**0.5)
    assert means[0] + 5 * errors[0] < means[1]
    assert means[1] + 5 * errors[1] < means[2]
    assert means[2] < truth + 5 * errors[2]
    assert truth - means[2] < 0.1 * (truth - means[0])


@torch.no_grad()
@pytest.mark.parametrize("chunk_size", [1, 7, 64, 100_000])
def test_importance_weighted_bound_does_not_depend_on_how_it_is_cut(
    ppca: tuple[Any, torch.Tensor], chunk_size: int
) -> None:
    decoder, x = ppca
    q = widened(decoder.posterior(x))
    n = 2000
    whole = importance_weighted_log_likelihood(decoder, x, q, n)
    cut = importance_weighted_log_likelihood(decoder, x[:8], DiagonalGaussian(q.mean[:8], q.logvar[:8]), n, chunk_size)
    weights = torch.stack([importance_weighted_log_likelihood(decoder, x, q, 1) for _ in range(2000)]).exp()
    error = (weights.std(0) / weights.mean(0) / n**0.5)[:8]  # of a log of a mean, by the delta method
    assert ((whole[:8] - cut).abs() < 5 * 2**0.5 * error).all()


def test_importance_weighted_bound_needs_a_sample(ppca: tuple[Any, torch.Tensor]) -> None:
    decoder, x = ppca
    with pytest.raises(ValueError, match="at least one sample"):
        importance_weighted_log_likelihood(decoder, x, decoder.posterior(x), 0)


TERMS = Elbo(reconstruction=torch.tensor([-10.0, -20.0]), kl_per_dim=torch.tensor([[0.5, 3.0], [0.1, 1.0]]))


def test_terms_add_up() -> None:
    torch.testing.assert_close(TERMS.kl, torch.tensor([3.5, 1.1]))
    torch.testing.assert_close(TERMS.elbo, torch.tensor([-13.5, -21.1]))


@pytest.mark.parametrize(
    ("beta", "free_bits", "rate"), [(1.0, 0.0, 2.3), (0.5, 0.0, 1.15), (1.0, 0.4, 2.4), (0.0, 0.4, 0.0)]
)
def test_training_loss(beta: float, free_bits: float, rate: float) -> None:
    torch.testing.assert_close(training_loss(TERMS, beta, free_bits), torch.tensor(15.0 + rate))
