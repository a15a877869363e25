"""The numbers of a `VAE` where they have closed forms: probabilistic PCA."""

from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from skipvae import VAE, DiagonalGaussian
from skipvae.callbacks import verdict
from tests.linear_gaussian import LinearGaussianDecoder, LinearGaussianEncoder


def linear_gaussian(shift: float = 0.0, widen: float = 0.0) -> VAE:
    decoder = LinearGaussianDecoder()
    return VAE(LinearGaussianEncoder(decoder, shift, widen), decoder)


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        return LinearGaussianDecoder().sample(torch.randn(30, 2, dtype=torch.double))


def test_infer_is_the_posterior_of_the_encoder(x: torch.Tensor) -> None:
    model = linear_gaussian(shift=0.3)
    exact, found = model.decoder.posterior(x), model.infer(x)
    torch.testing.assert_close(found.mean, exact.mean + 0.3)
    torch.testing.assert_close(found.logvar, exact.logvar)


@torch.no_grad()
def test_elbo_is_the_likelihood_less_the_divergence_to_the_exact_posterior(x: torch.Tensor) -> None:
    model, n = linear_gaussian(shift=0.2, widen=0.5), 4000
    q, exact = model.infer(x[:1]), model.decoder.posterior(x[:1])
    terms = model.elbo(x[:1].expand(n, -1))
    gap = kl_divergence(Normal(q.mean, (q.logvar / 2).exp()), Normal(exact.mean, (exact.logvar / 2).exp())).sum()
    error = terms.elbo.mean() - (model.decoder.log_likelihood(x[:1]) - gap)
    assert error.abs() < 5 * terms.elbo.std() / n**0.5
    torch.testing.assert_close(terms.elbo, terms.reconstruction - terms.kl)
    prior = Normal(torch.zeros(2, dtype=torch.double), 1.0)
    torch.testing.assert_close(terms.kl[:1], kl_divergence(Normal(q.mean, (q.logvar / 2).exp()), prior).sum(-1))


def test_log_likelihood_is_exact_with_the_exact_posterior(x: torch.Tensor) -> None:
    model = linear_gaussian()
    torch.testing.assert_close(model.log_likelihood(x, num_samples=1), model.decoder.log_likelihood(x).detach())


@torch.no_grad()
def test_log_likelihood_rises_to_the_truth(x: torch.Tensor) -> None:
    model = linear_gaussian(shift=0.2, widen=0.5)
    truth = model.decoder.log_likelihood(x)
    few, many = (
        torch.stack([model.log_likelihood(x, num_samples) for _ in range(200)]) - truth for num_samples in (1, 20)
    )
    error = (few.mean(1).std() + many.mean(1).std()) / 200**0.5
    assert few.mean() + 5 * error < many.mean() < 5 * error


@torch.no_grad()
def test_samples_have_the_moments_of_the_model() -> None:
    model, n = linear_gaussian(), 20_000
    torch.manual_seed(0)
    draws = model.double().sample(n)
    covariance = model.decoder.weight @ model.decoder.weight.T + model.decoder.noise**2 * torch.eye(5).double()
    variance = covariance.diagonal()
    assert ((draws.mean(0) - model.decoder.bias).abs() < 5 * (variance / n).sqrt()).all()
    # of an entry of a Gaussian's sample covariance: (S_ij^2 + S_ii S_jj) / n
    error = ((covariance.square() + variance.outer(variance)) / n).sqrt()
    assert ((draws.T.cov() - covariance).abs() < 5 * error).all()


# -- which side uses z ------------------------------------------------------------------------------------------------


class Alike(LinearGaussianEncoder):
    """The prior, whatever x is."""

    mean, logvar = 0.0, 0.0

    def forward(self, x: torch.Tensor) -> Any:
        exact = super().forward(x).mean
        return DiagonalGaussian(torch.full_like(exact, self.mean), torch.full_like(exact, self.logvar))


class Narrow(Alike):
    """The same narrow posterior for all x, whose samples hardly differ."""

    mean, logvar = 0.5, -14.0


@torch.no_grad()
def sides(encoder_kind: Any, listens: bool, sizes: Any = (100,) * 30) -> dict:
    """What is measured of data of probabilistic PCA by a decoder that is right, or has no weights for z."""
    decoder = LinearGaussianDecoder()
    truth = LinearGaussianDecoder()
    if not listens:
        decoder.weight.zero_()
    model = VAE(encoder_kind(truth), decoder, num_importance_samples=0)
    torch.manual_seed(0)
    for size in sizes:
        model.validation_step((truth.sample(torch.randn(size, 2, dtype=torch.double)),), 0)
    return model.evaluation.compute()


@pytest.mark.parametrize(
    ("encoder_kind", "listens", "words"),
    [
        (LinearGaussianEncoder, True, "both sides use z"),
        (LinearGaussianEncoder, False, "encoder only"),
        (Alike, True, "decoder only"),
        (Narrow, True, "decoder only"),
        (Alike, False, "full collapse"),
        (Narrow, False, "the KL carries no information"),
    ],
)
def test_each_side_is_measured(encoder_kind: Any, listens: bool, words: str) -> None:
    found, decoder = sides(encoder_kind, listens), LinearGaussianDecoder()
    assert words in verdict(found, skip=False)
    # of its own z, x is |noise|^2 / 2 s^2 away; of one drawn without it, also |W (z - z')|^2 / 2 s^2
    gain = 0.0
    if encoder_kind is LinearGaussianEncoder:
        gain = float(decoder.weight.detach().square().sum() / decoder.noise**2)
    if listens:
        assert abs(found["exchange_loss"] - gain) < 4 * found["exchange_loss_stderr"]
        assert found["prior_dependence"] > 10 * found["prior_dependence_stderr"]
        assert found["decoder_dependence"] >= found["exchange_loss"]
        assert (found["decoder_dependence"] < 0.1) == (encoder_kind is Narrow)
    else:
        assert found["decoder_dependence"] == found["exchange_loss"] == found["prior_dependence"] == 0
    assert found["mi"] >= 0


def test_batches_of_one_have_none_to_exchange_with() -> None:
    assert "decoder_dependence" not in sides(LinearGaussianEncoder, True, [1, 1, 1])
    assert "decoder_dependence" in sides(LinearGaussianEncoder, True, [1, 2, 1])


@torch.no_grad()
def test_a_test_measures_the_importance_weighted_likelihood(x: torch.Tensor) -> None:
    model = linear_gaussian()  # with the exact posterior one sample gives the exact likelihood
    model.num_importance_samples = 1
    for batch in x.split(8):
        model.test_step((batch, torch.zeros(len(batch))), 0)
    results = model.evaluation.compute()
    exact = -model.decoder.log_likelihood(x)
    assert results["nll"] == pytest.approx(exact.mean().item())
    assert results["nll_stderr"] == pytest.approx((exact.std() / len(x) ** 0.5).item())
