"""The numbers of a `VAE` where they have closed forms: probabilistic PCA."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from skipvae import VAE
from tests.linear_gaussian import LinearGaussianDecoder, LinearGaussianEncoder


def linear_gaussian(shift: float = 0.0, widen: float = 0.0) -> VAE:
    decoder = LinearGaussianDecoder()
    return VAE(LinearGaussianEncoder(decoder, shift, widen), decoder)


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        return LinearGaussianDecoder().sample(torch.randn(30, 2, dtype=torch.double))


def test_infer_is_the_posterior_of_the_encoder(x):
    model = linear_gaussian(shift=0.3)
    exact, found = model.decoder.posterior(x), model.infer(x)
    torch.testing.assert_close(found.mean, exact.mean + 0.3)
    torch.testing.assert_close(found.logvar, exact.logvar)


@torch.no_grad()
def test_elbo_is_the_likelihood_less_the_divergence_to_the_exact_posterior(x):
    model, n = linear_gaussian(shift=0.2, widen=0.5), 4000
    q, exact = model.infer(x[:1]), model.decoder.posterior(x[:1])
    terms = model.elbo(x[:1].expand(n, -1))
    gap = kl_divergence(Normal(q.mean, (q.logvar / 2).exp()), Normal(exact.mean, (exact.logvar / 2).exp())).sum()
    error = terms.elbo.mean() - (model.decoder.log_likelihood(x[:1]) - gap)
    assert error.abs() < 5 * terms.elbo.std() / n**0.5
    torch.testing.assert_close(terms.elbo, terms.reconstruction - terms.kl)
    prior = Normal(torch.zeros(2, dtype=torch.double), 1.0)
    torch.testing.assert_close(terms.kl[:1], kl_divergence(Normal(q.mean, (q.logvar / 2).exp()), prior).sum(-1))


def test_log_likelihood_is_exact_with_the_exact_posterior(x):
    model = linear_gaussian()
    torch.testing.assert_close(model.log_likelihood(x, num_samples=1), model.decoder.log_likelihood(x).detach())


@torch.no_grad()
def test_log_likelihood_rises_to_the_truth(x):
    model = linear_gaussian(shift=0.2, widen=0.5)
    truth = model.decoder.log_likelihood(x)
    few, many = (
        torch.stack([model.log_likelihood(x, num_samples) for _ in range(200)]) - truth for num_samples in (1, 20)
    )
    error = (few.mean(1).std() + many.mean(1).std()) / 200**0.5
    assert few.mean() + 5 * error < many.mean() < 5 * error


@torch.no_grad()
def test_samples_have_the_moments_of_the_model():
    model, n = linear_gaussian(), 20_000
    torch.manual_seed(0)
    draws = model.double().sample(n)
    covariance = model.decoder.weight @ model.decoder.weight.T + model.decoder.noise**2 * torch.eye(5).double()
    variance = covariance.diagonal()
    assert ((draws.mean(0) - model.decoder.bias).abs() < 5 * (variance / n).sqrt()).all()
    # of an entry of a Gaussian's sample covariance: (S_ij^2 + S_ii S_jj) / n
    error = ((covariance.square() + variance.outer(variance)) / n).sqrt()
    assert ((draws.T.cov() - covariance).abs() < 5 * error).all()


@torch.no_grad()
def test_a_test_measures_the_importance_weighted_likelihood(x):
    model = linear_gaussian()  # with the exact posterior one sample gives the exact likelihood
    model.num_importance_samples = 1
    for batch in x.split(8):
        model.test_step((batch, torch.zeros(len(batch))), 0)
    results = model.evaluation.compute()
    exact = -model.decoder.log_likelihood(x)
    assert results["nll"] == pytest.approx(exact.mean().item())
    assert results["nll_stderr"] == pytest.approx((exact.std() / len(x) ** 0.5).item())
