import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.utils.data import DataLoader, TensorDataset

from skipvae import VAE
from skipvae.callbacks import FixedKLWeight
from skipvae.decoders import LSTMDecoder, MLPDecoder
from skipvae.encoders import MLPEncoder
from skipvae.inference import SVI, Amortized, SemiAmortized, divergence
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from tests.inference.models import (
    GRADIENTS,
    Normals,
    gradients,
    lstm,
    mlp,
    pixelcnn,
    ppca,
)
from tests.linear_gaussian import LinearGaussianDecoder, LinearGaussianEncoder

# -- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_refinement_converges_to_the_exact_posterior(gradient: Any, beta: float) -> None:
    model, x = ppca(SemiAmortized(num_steps=int(120 / beta), gradient=gradient))
    found, decoder = model.infer(x, beta), model.decoder
    information = decoder.weight.square().sum(0) / decoder.noise**2
    variance = beta / (information + beta)  # of the optimum of the reconstruction less beta times the KL
    mean = (x - decoder.bias) @ decoder.weight / decoder.noise**2 / (information + beta)
    torch.testing.assert_close(found.logvar, variance.log().expand_as(mean), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.mean, mean, atol=1e-5, rtol=0)
    if beta == 1:
        torch.testing.assert_close(found.mean, decoder.posterior(x).mean, atol=1e-5, rtol=0)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_published_rule_converges_too(gradient: Any) -> None:
    model, x = ppca(SemiAmortized(num_steps=400, learning_rate=0.3, gradient=gradient, rule="published"))
    found, exact = model.infer(x), model.decoder.posterior(x)
    before = divergence(model.encoder(x), exact).mean()
    assert divergence(found, exact).mean() < 0.05 * before  # its noise does not vanish at the exact posterior


def test_an_example_of_the_published_rule_depends_on_its_batch(images: torch.Tensor) -> None:
    model = mlp(SemiAmortized(4, rule="published"))
    noise = torch.randn(5, 1, 3)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("torch.randn_like", lambda like: noise.expand(like.shape))
        alone, together = (model.inference(model.encoder, model.decoder, x).posterior for x in (images[:1], images[:5]))
    assert not torch.allclose(alone.mean, together.mean[:1])


def test_steps_of_validation_use_the_annealed_weight_if_asked_to(workspace: Path) -> None:
    class Spy(SemiAmortized):
        def forward(self, encoder: Any, decoder: LSTMDecoder, x: torch.Tensor, beta: float = 1.0) -> Any:
            seen.append((self.anneal_validation, encoder.training, beta))
            return super().forward(encoder, decoder, x, beta)

    for anneal in (False, True):
        seen = list[tuple[bool, bool, float]]()
        model = VAE(
            MLPEncoder(3, (1, 4, 4), hidden_dim=4),
            MLPDecoder(3, (1, 4, 4), hidden_dim=4),
            Spy(2, anneal_validation=anneal),
        )
        loader = DataLoader(TensorDataset(torch.rand(8, 1, 4, 4).round()), batch_size=4)
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            callbacks=[FixedKLWeight(0.4)],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(model, loader, loader)
        assert {beta for _, training, beta in seen if training} == {0.4}
        assert {beta for _, training, beta in seen if not training} == {0.4 if anneal else 1.0}
        trainer.validate(model, loader, verbose=False)
        assert seen[-1][2] == 1.0


def test_twenty_steps_close_almost_all_of_the_gap() -> None:
    for inference in (SemiAmortized(), SVI()):
        model, x = ppca(inference, n=500)
        exact = model.decoder.posterior(x)
        after = divergence(model.infer(x), exact).mean()
        assert after < 0.02 * divergence(DiagonalGaussian(0 * exact.mean, 0 * exact.mean), exact).mean()
        assert after < 0.02 * divergence(LinearGaussianEncoder(model.decoder, 0.5, 0.7)(x), exact).mean()


def test_svi_converges_to_the_exact_posterior_without_an_encoder() -> None:
    model, x = ppca(SVI(num_steps=150))
    assert model.encoder is None
    found, exact = model.infer(x), model.decoder.posterior(x)
    torch.testing.assert_close(found.mean, exact.mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.logvar, exact.logvar, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_amortization_gap_is_the_divergence_that_the_steps_close() -> None:
    model, x = ppca(SemiAmortized(num_steps=100), n=4000)
    initial, exact = model.encoder(x), model.decoder.posterior(x)
    inferred = model._inferred(x)
    model.validation_step((x,), 0)
    results = model.evaluation.compute()
    gain = inferred.elbo_per_step[:, -1] - inferred.elbo_per_step[:, 0]
    error = gain.std() / len(x) ** 0.5  # each end by its own sample
    assert abs(results["amortization_gap"] - divergence(initial, exact).mean()) < 5 * error
    assert len(results["elbo_per_step"]) == 101
    assert results["elbo_per_step"][-1] == pytest.approx(
        model.decoder.log_likelihood(x).mean().item(), abs=5 * float(error)
    )
    assert results["diverged"] == 0


def test_divergence() -> None:
    torch.manual_seed(0)
    q, p = (DiagonalGaussian(torch.randn(5, 3), torch.randn(5, 3)) for _ in range(2))
    expected = kl_divergence(Normal(q.mean, (q.logvar / 2).exp()), Normal(p.mean, (p.logvar / 2).exp())).sum(-1)
    torch.testing.assert_close(divergence(q, p), expected)


# -- divergence -------------------------------------------------------------------------------------------------------


class Cliff(LinearGaussianDecoder):
    """No number at all where z goes beyond a cliff, for the first two examples."""

    def log_prob(self, x: torch.Tensor, z: torch.Tensor | None) -> Any:
        over = (z[:, 0] > 0) & (torch.arange(len(z)) < 2)
        return torch.where(over, torch.nan, super().log_prob(x, z))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_diverged_examples_fall_back_to_their_best_step_and_are_counted(gradient: Any) -> None:
    decoder, cliff = LinearGaussianDecoder(), Cliff()
    x = (decoder.bias + 4 * decoder.weight[:, 0]).detach().expand(5, -1)  # the way to its posterior leads over the edge
    start = Normals(torch.full((5, 2), -3.0, dtype=torch.double), torch.full((5, 2), -1.0, dtype=torch.double))
    inference = SemiAmortized(20, gradient=gradient)
    torch.manual_seed(0)
    found = inference(start, cliff, x)
    torch.manual_seed(0)
    plain = inference(start, decoder, x)
    assert found.diverged.tolist() == [True, True, False, False, False]
    assert found.elbo_per_step.isfinite().all()
    assert (found.posterior.mean[:2, 0] < 0).all()
    assert (found.posterior.mean[:2, 0] > -2.9).all()  # better than the start
    assert (found.elbo_per_step[:2, -1] > found.elbo_per_step[:2, 0]).all()
    assert torch.equal(found.elbo_per_step[:2, -1], found.elbo_per_step[:2].amax(1))
    torch.testing.assert_close(found.posterior.mean[2:], plain.posterior.mean[2:])
    model = VAE(start, cliff, inference)
    model.validation_step((x,), 0)
    results = model.evaluation.compute()
    assert results["diverged"] == 2
    assert math.isfinite(results["amortization_gap"])


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_steps_that_are_far_too_long_leave_finite_gradients(gradient: Any, images: torch.Tensor) -> None:
    model = mlp(SemiAmortized(10, learning_rate=1e4, max_grad_norm=1e4, gradient=gradient))
    assert all(gradient.isfinite().all() for gradient in gradients(model, images).values())
    assert model.loss(images)["diverged"] > 0


@pytest.mark.parametrize(("mean", "logvar"), [(25.0, 0.0), (0.0, -21.0), (-30.0, -150.0)])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_start_far_out_is_taken_as_it_is(gradient: Any, mean: float, logvar: float) -> None:
    decoder = LinearGaussianDecoder()
    x = decoder.bias.detach().expand(3, -1)
    start = Normals(*(nn.Parameter(torch.full((3, 2), v, dtype=torch.double)) for v in (mean, logvar)))
    model = VAE(start, decoder, SemiAmortized(3, gradient=gradient))
    model.validation_step((x,), 0)
    assert math.isfinite(model.evaluation.compute()["amortization_gap"])
    assert all(gradient.isfinite().all() for gradient in gradients(model, x).values())


def test_a_broken_encoder_is_not_covered_up(images: torch.Tensor) -> None:
    model = mlp(SemiAmortized(3))
    with torch.no_grad():
        next(model.encoder.parameters()).fill_(torch.nan)
    assert model.loss(images)["loss"].isnan()


# -- settings ---------------------------------------------------------------------------------------------------------


class NoSecondDerivative(MLPDecoder):
    def twice_differentiable(self, device: Any) -> bool:
        return False


def test_the_automatic_gradient_is_what_works_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    monkeypatch.setattr("skipvae.models.vae.rank_zero_info", said.append)
    mlp(SemiAmortized()).on_fit_start()
    mlp(Amortized()).on_fit_start()
    assert said == ["semi-amortised inference: gradient=auto is exact here"]
    device = torch.device("cpu")
    plain, once = (kind(3, (1, 4, 4), hidden_dim=8) for kind in (MLPDecoder, NoSecondDerivative))
    assert SemiAmortized().check(plain, device) == "semi-amortised inference: gradient=auto is exact here"
    words = LSTMDecoder(2, vocab_size=6, embedding_dim=2, hidden_dim=2)
    found = SemiAmortized().check(words, torch.device("cpu"))
    assert found == "semi-amortised inference: gradient=auto is finite_difference here"
    assert SemiAmortized(gradient="exact").check(words, torch.device("cpu")) is None
    assert "finite_difference" in SemiAmortized().check(once, device)
    assert SemiAmortized(gradient="finite_difference").check(once, device) is None
    exact = SemiAmortized(gradient="exact")
    with pytest.raises(ValueError, match="set the inference's gradient to finite_difference"):
        exact.check(once, device)
    with pytest.raises(ValueError, match="set the inference's gradient to finite_difference"):
        VAE(MLPEncoder(3, (1, 4, 4), hidden_dim=8), once, exact).on_fit_start()


def test_cudnn_has_no_second_derivative_of_an_lstm() -> None:
    decoder = lstm(Amortized()).decoder
    assert decoder.twice_differentiable(torch.device("cpu"))
    assert not decoder.twice_differentiable(torch.device("cuda"))
    with torch.backends.cudnn.flags(enabled=False):
        assert decoder.twice_differentiable(torch.device("cuda"))
    assert pixelcnn(Amortized()).decoder.twice_differentiable(torch.device("cuda"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0: take at least 1, or skipvae.inference.Amortized"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 and max_grad_norm=5.0 must be positive"),
        ({"momentum": 1.0}, "momentum=1.0 at least 0 and below 1"),
        ({"gradient": "approximate"}, "gradient is 'approximate': choose from auto, exact"),
        ({"encoder_loss": "mse"}, "encoder_loss is 'mse': choose from elbo, kl, reversed_kl"),
        ({"rule": "adam"}, "rule is 'adam': choose from natural, published"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SemiAmortized(**settings)


def test_an_encoder_is_there_where_it_is_needed_and_only_there(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"SemiAmortized needs an encoder; without one, take skipvae\.inference\.SVI"):
        VAE(None, MLPDecoder(3, (1, 4, 4), hidden_dim=8), SemiAmortized())
    model = mlp(SVI(num_steps=3))
    assert not any(name.startswith("encoder") for name in model.state_dict())
    gradients(model, images)  # checks that every parameter is used
