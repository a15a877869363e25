"""Semi-amortised inference by the published rule: the whole path, and the gradient that reaches the encoder."""

import pytest
import torch
from torch import Tensor, nn

from skipvae import VAE
from skipvae.decoders import Decoder
from skipvae.encoders import Encoder
from skipvae.inference import PublishedGradient, SemiAmortized
from skipvae.objectives.elbo import elbo, training_loss
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from tests.inference.models import Normals
from tests.parity.arrays import DIFFERENCES, PATH, Arrays, clamped_log_prob, each_file
from tests.parity.networks import lstm_decoder, lstm_encoder, mlp_decoder, mlp_encoder

STEPS_THROUGH = 3
"""Steps that the arrays `after3` differentiate."""


def networks(arrays: Arrays) -> tuple[Encoder, Decoder]:
    """Of the fixture's kind; their log-likelihood is the published one, with its clamp."""
    if "decoder.embedding" in arrays:
        return lstm_encoder(arrays, "encoder."), lstm_decoder(arrays, "decoder.")
    decoder = mlp_decoder(arrays, skip="decoder.layer1.latent.weight" in arrays)
    decoder.log_prob = lambda x, z: clamped_log_prob(decoder.logits(x, z), x)  # type: ignore[method-assign]
    return mlp_encoder(arrays), decoder


def cases(arrays: Arrays) -> list[str]:
    return sorted(key.removesuffix(".noise") for key in arrays if key.endswith(".noise"))


def with_noise(monkeypatch: pytest.MonkeyPatch, noise: Tensor) -> None:
    """The steps draw this noise, (num_steps + 1, B, K)."""
    monkeypatch.setattr("torch.randn_like", lambda like: noise[: len(like)])


@each_file("semi_amortized_*")
def test_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 21 parameters, gradient norms, and the terms of the bound along 20 steps."""
    arrays = Arrays(name)
    encoder, decoder = networks(arrays)
    for case in cases(arrays):
        noise, mean, logvar = (arrays[f"{case}.{part}"] for part in ("noise", "mean", "logvar"))
        x, beta = arrays["x"][: noise.shape[1]], float(arrays[f"{case}.beta"])
        if ".encoder" in case:
            with torch.no_grad():
                posterior = encoder(x)
            arrays.compare(f"{case}: the encoder's mean", posterior.mean, mean[0])
            arrays.compare(f"{case}: the encoder's logvar", posterior.logvar, logvar[0])
        inference = SemiAmortized(len(noise) - 1, rule="published", gradient="none")
        seen = list[tuple[DiagonalGaussian, Tensor]]()
        of_rule = inference.rule.gradient

        def spied(q: DiagonalGaussian, *args: object) -> Tensor:
            seen.append((q, of_rule(q, *args)))  # noqa: B023
            return seen[-1][1]  # noqa: B023

        with_noise(monkeypatch, noise)
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(inference.rule, "gradient", spied)
            found = inference(Normals(mean[0], logvar[0]), decoder, x, beta)
        assert found.diverged is not None
        assert not found.diverged.any()
        arrays.check(f"{case}.mean", torch.stack([q.mean for q, _ in seen]), PATH)
        arrays.check(f"{case}.logvar", torch.stack([q.logvar for q, _ in seen]), PATH)
        arrays.compare(f"{case}: the last mean", found.posterior.mean, mean[-1], PATH)
        arrays.check(f"{case}.elbo", found.elbo_per_step.T, PATH)  # type: ignore[union-attr]
        norms = torch.stack([(g / len(x)).unflatten(-1, (2, -1)).norm(dim=(0, 2)) for _, g in seen[:-1]])
        arrays.check(f"{case}.gradient_norms", norms, PATH)
        kl = torch.stack([q.kl().sum(-1) for q, _ in seen])
        arrays.check(f"{case}.kl", kl, PATH)
        arrays.check(f"{case}.log_prob", found.elbo_per_step.T + kl, PATH)  # type: ignore[union-attr]


def published_differences(arrays: Arrays, case: str, decoder: Decoder, x: Tensor, r: float = 1e-5) -> Tensor:
    """The gradient of the published backward pass, which clips jointly with the decoder's parameters, (B, 2K)."""
    noise, beta = arrays[f"{case}.noise"], float(arrays[f"{case}.beta"])
    path = torch.cat([arrays[f"{case}.mean"], arrays[f"{case}.logvar"]], -1)
    weights = [p for p in decoder.parameters() if p.requires_grad]

    def gradients(point: Tensor, k: int) -> list[Tensor]:
        point = point.detach().requires_grad_()
        loss = training_loss(elbo(decoder, x, DiagonalGaussian(*point.chunk(2, -1)), noise[k]), beta)
        by_point, *others = torch.autograd.grad(loss, [point, *weights], allow_unused=True)
        return [*by_point.chunk(2, -1), *(other for other in others if other is not None)]

    def clipped(parts: list[Tensor]) -> Tensor:
        norm = torch.stack([part.norm() for part in parts]).norm()
        return torch.cat(parts[:2], -1) * (5.0 / (norm + 1e-6)).clamp(max=1.0)

    a = torch.cat(gradients(path[STEPS_THROUGH], STEPS_THROUGH)[:2], -1)
    p = torch.zeros_like(a)
    for k in reversed(range(STEPS_THROUGH)):
        p = p + a
        forward = torch.cat([clipped([part]) for part in gradients(path[k], k)[:2]], -1)
        a = a - (clipped(gradients(path[k] + r * p, k)) - forward) / r
        a = clipped(list(a.chunk(2, -1)))
        p = 0.5 * p
    return a


def clip_by_a_constant(part: Tensor, max_grad_norm: float) -> Tensor:
    """As the rule clips, but that the coefficient is not differentiated."""
    return part * (max_grad_norm / (part.detach().norm() + 1e-6)).clamp(max=1.0)


@each_file("semi_amortized_*")
def test_gradient_that_reaches_the_encoder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact, and by finite differences where there are no kinks, of the loss after three steps; and the published one.

    At the kinks of a ReLU finite differences see a curvature that exact derivatives do not.
    """
    arrays = Arrays(name)
    _, decoder = networks(arrays)
    smooth = "decoder.embedding" in arrays
    for case in cases(arrays):
        if f"{case}.after3.loss" not in arrays:
            continue
        noise, beta = arrays[f"{case}.noise"], float(arrays[f"{case}.beta"])
        x, with_beta = arrays["x"][: noise.shape[1]], f"{case}.after3"
        with_noise(monkeypatch, noise)
        for gradient in ("exact", "finite_difference") if smooth else ("exact",):
            start = Normals(*(nn.Parameter(arrays[f"{case}.{part}"][0].clone()) for part in ("mean", "logvar")))
            inference = SemiAmortized(STEPS_THROUGH, rule="published", gradient=gradient)  # type: ignore[arg-type]
            posterior = VAE(start, decoder, inference)._inferred(x, beta).posterior
            posterior.mean.retain_grad()
            posterior.logvar.retain_grad()
            loss = training_loss(elbo(decoder, x, posterior, noise[STEPS_THROUGH]), beta)
            loss.backward()
            tolerance = PATH if gradient == "exact" else DIFFERENCES
            arrays.check(f"{with_beta}.loss", loss, PATH)
            for part in ("mean", "logvar"):
                arrays.check(f"{with_beta}.last_gradient.{part}", getattr(posterior, part).grad, PATH)
                arrays.check(f"{with_beta}.exact_gradient.{part}", getattr(start, part).grad, tolerance)
        with monkeypatch.context() as patch:
            patch.setattr(PublishedGradient, "_clip", staticmethod(clip_by_a_constant))
            start = Normals(*(nn.Parameter(arrays[f"{case}.{part}"][0].clone()) for part in ("mean", "logvar")))
            posterior = SemiAmortized(STEPS_THROUGH, rule="published", gradient="exact")(
                start, decoder, x, beta
            ).posterior
        training_loss(elbo(decoder, x, posterior, noise[STEPS_THROUGH]), beta).backward()
        for part in ("mean", "logvar"):
            arrays.check(f"{with_beta}.exact_gradient_clip_constant.{part}", getattr(start, part).grad, PATH)
        theirs = published_differences(arrays, case, decoder, x).chunk(2, -1)
        for part, found in zip(("mean", "logvar"), theirs, strict=True):
            arrays.check(f"{with_beta}.published_differences.{part}", found, DIFFERENCES)
