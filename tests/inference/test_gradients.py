from typing import Any

import pytest
import torch
from torch import nn

from skipvae import VAE
from skipvae.inference import SemiAmortized, divergence
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from tests.inference.models import (
    GRADIENTS,
    THROUGH,
    Normals,
    Smooth,
    gradients,
    lstm,
    mlp,
    pixelcnn,
    ppca,
    relative_error,
)
from tests.linear_gaussian import LinearGaussianDecoder

# -- gradients through the steps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["natural", "published"])
@pytest.mark.parametrize("max_grad_norm", [5.0, 0.1])  # clipping off and on
def test_exact_gradients_by_gradcheck(max_grad_norm: float, rule: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 4, dtype=torch.double) - 0.5
    mean, logvar = torch.randn(3, 2, dtype=torch.double), torch.randn(3, 2, dtype=torch.double) - 1
    weight = torch.randn(2, 4, dtype=torch.double)
    inference = SemiAmortized(num_steps=4, max_grad_norm=max_grad_norm, gradient="exact", rule=rule)

    def refined(mean: torch.Tensor, logvar: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(1)
        posterior = inference(Normals(mean, logvar), Smooth(weight), x).posterior
        return posterior.mean, posterior.logvar

    assert torch.autograd.gradcheck(refined, [t.requires_grad_() for t in (mean, logvar, weight)])


@pytest.mark.parametrize("rule", ["natural", "published"])
@pytest.mark.parametrize("max_grad_norm", [5.0, 0.1])
def test_finite_differences_agree_with_exact_gradients(max_grad_norm: float, rule: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 4, dtype=torch.double) - 0.5
    weight = nn.Parameter(torch.randn(2, 4, dtype=torch.double))
    encoder = Normals(*(nn.Parameter(torch.randn(3, 2, dtype=torch.double)) for _ in range(2)))
    settings = {"num_steps": 5, "max_grad_norm": max_grad_norm, "rule": rule}
    found = [
        gradients(VAE(encoder, Smooth(weight), SemiAmortized(**settings, gradient=gradient)), x) for gradient in THROUGH
    ]
    assert relative_error(found[1], found[0]) < 1e-8


def test_in_float32_finite_differences_agree_within_a_thousandth() -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 4) - 0.5
    weight = nn.Parameter(torch.randn(2, 4))
    encoder = Normals(nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(3, 2)))
    found = [gradients(VAE(encoder, Smooth(weight), SemiAmortized(gradient=gradient)), x) for gradient in THROUGH]
    assert relative_error(found[1], found[0]) < 1e-3


@pytest.mark.parametrize("make", [mlp, pixelcnn, lstm])
def test_every_decoder_and_its_dropout(make: Any, images: torch.Tensor, sentences: torch.Tensor) -> None:
    x = sentences if make is lstm else images.double()
    found = [gradients(make(SemiAmortized(5, gradient=gradient)).double(), x) for gradient in THROUGH]
    assert relative_error(found[1], found[0]) < 1e-5
    nothing_through = gradients(make(SemiAmortized(5, gradient="none")).double(), x)
    assert relative_error(nothing_through, found[0]) > 0.01


# -- other ways to train the encoder ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["finite_difference", "none"])
@pytest.mark.parametrize("fails", [False, True])
def test_steps_ask_for_no_gradients_of_the_weights_and_leave_them_learnable(
    gradient: str, fails: bool, sentences: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lstm(SemiAmortized(3, gradient=gradient))
    asked, log_prob = [], model.decoder.log_prob

    def spied(*args: Any) -> Any:
        asked.append(any(p.requires_grad for p in model.decoder.parameters()))
        if fails:
            raise KeyboardInterrupt
        return log_prob(*args)

    monkeypatch.setattr(model.decoder, "log_prob", spied)
    if fails:
        with pytest.raises(KeyboardInterrupt):
            model.loss(sentences)
    else:
        model.loss(sentences)
    assert asked == ([False] if fails else [False] * 4 + [True])  # the loss itself comes last
    assert all(p.requires_grad for p in model.decoder.parameters())


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_parameters_that_were_computed(gradient: Any, sentences: torch.Tensor) -> None:
    """As hypernetworks and meta-learners have them: their flags cannot be set."""
    model = lstm(SemiAmortized(2, gradient=gradient)).double()
    torch.manual_seed(0)
    expected = model.loss(sentences)["loss"]
    computed = {name: parameter * 1.0 for name, parameter in model.named_parameters()}
    model.forward = lambda x: model.loss(x)["loss"]
    torch.manual_seed(0)
    torch.testing.assert_close(torch.func.functional_call(model, computed, (sentences,)), expected)


def test_weights_that_the_user_froze_stay_frozen(sentences: torch.Tensor) -> None:
    model = lstm(SemiAmortized(3, gradient="finite_difference"))
    model.decoder.embedding.requires_grad_(False)
    model.loss(sentences)["loss"].backward()
    assert model.decoder.embedding.weight.grad is None
    assert not model.decoder.embedding.weight.requires_grad
    assert model.decoder.output.hidden.weight.grad is not None


def test_an_encoder_trained_on_its_own_elbo_is_at_rest_at_the_exact_posterior() -> None:
    torch.manual_seed(0)
    decoder = LinearGaussianDecoder()
    x = decoder.sample(torch.randn(6, 2, dtype=torch.double)).detach()
    with torch.no_grad():
        exact = decoder.posterior(x)

    def gradients_at(shift: Any) -> Any:
        encoder = Normals(nn.Parameter(exact.mean + shift), nn.Parameter(exact.logvar.clone()))
        return gradients(VAE(encoder, decoder, SemiAmortized(3, gradient="none")), x)

    at_rest, shifted = gradients_at(0.0), gradients_at(0.3)
    assert at_rest["encoder.mean"].abs().max() < 1e-12
    assert at_rest["encoder.logvar"].abs().max() < 1e-12
    precision = (-exact.logvar).exp()  # the Hessian of the Gaussian's ELBO, and so the gradient at 0.3 without noise
    torch.testing.assert_close(shifted["encoder.mean"], 0.3 * precision / len(x))


@pytest.mark.parametrize("encoder_loss", ["kl", "reversed_kl"])
def test_an_encoder_trained_towards_the_refined_posterior(encoder_loss: str) -> None:
    model, x = ppca(SemiAmortized(5, gradient="none", encoder_loss=encoder_loss))
    q = model.encoder(x)
    encoder = Normals(nn.Parameter(q.mean.detach()), nn.Parameter(q.logvar.detach()))
    found = gradients(VAE(encoder, model.decoder, model.inference), x)
    torch.manual_seed(3)
    target, initial = model._inferred(x).posterior, DiagonalGaussian(encoder.mean, encoder.logvar)
    pair = (initial, target) if encoder_loss == "kl" else (target, initial)  # the published direction is encoder first
    wanted = torch.autograd.grad(divergence(*pair).mean(), [encoder.mean, encoder.logvar])
    torch.testing.assert_close(found["encoder.mean"], wanted[0])
    torch.testing.assert_close(found["encoder.logvar"], wanted[1])


def test_how_the_encoder_is_trained_changes_neither_the_loss_nor_the_decoder(images: torch.Tensor) -> None:
    elbo, kl = (mlp(SemiAmortized(3, gradient="none", encoder_loss=loss)) for loss in ("elbo", "kl"))
    found, wanted = gradients(elbo, images), gradients(kl, images)
    for name in found:
        assert torch.equal(found[name], wanted[name]) == name.startswith("decoder")
    losses = []
    for model in (elbo, kl):
        torch.manual_seed(3)
        terms = model.loss(images)
        torch.testing.assert_close(terms["loss"], terms["kl"] - terms["reconstruction"])
        losses.append(terms["loss"])
    assert losses[0] == losses[1]


# -- on a GPU ---------------------------------------------------------------------------------------------------------

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
def test_on_a_gpu_an_lstm_takes_finite_differences_and_they_are_right(sentences: torch.Tensor) -> None:
    x, model = sentences.cuda(), lstm(SemiAmortized(5)).double().cuda()
    assert "finite_difference" in model.inference.check(model.decoder, model.device)
    found = gradients(model, x)
    model.inference.gradient = "exact"
    with pytest.raises(ValueError, match="set the inference's gradient to finite_difference"):
        model.loss(x)
    with torch.backends.cudnn.flags(enabled=False):
        assert relative_error(found, gradients(model, x)) < 1e-5
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
        assert model.float().eval().infer(x).mean.isfinite().all()


@needs_gpu
@pytest.mark.parametrize("make", [mlp, pixelcnn])
def test_on_a_gpu_exact_gradients_are_those_of_the_cpu(make: Any, images: torch.Tensor) -> None:
    inference = SemiAmortized(5, gradient="exact")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("torch.randn_like", lambda like: torch.randn(like.shape).to(like))
        found = gradients(make(inference).double().cuda(), images.double().cuda())
        wanted = gradients(make(inference).double(), images.double())
    assert relative_error({name: value.cpu() for name, value in found.items()}, wanted) < 1e-9


@needs_gpu
def test_on_a_gpu_no_step_waits_for_the_device(images: torch.Tensor) -> None:
    x, model = images.cuda(), mlp(SemiAmortized(3)).cuda()
    gradients(model, x)
    model.zero_grad()
    torch.cuda.set_sync_debug_mode("error")
    try:
        model.loss(x)["loss"].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
