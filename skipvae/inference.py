"""How the approximate posterior q(z|x) of an example is obtained: from an encoder, by optimisation, or by both.

Optimisation climbs the ELBO in lambda = (mean, logvar), each example for itself, so that its posterior depends
neither on its batch nor on the number of processes. Every step t has its own noise eps_t:

    z = mean + sigma eps_t
    g = d/dz [log p(x|z) + beta (log p(z) - log q(z; lambda))]      the gradient of the ELBO along the path of z
    step = (sigma^2 g, sigma eps_t g), clipped to max_grad_norm
    velocity = momentum velocity + step;  lambda = lambda + learning_rate velocity / 10

The gradient leaves out the score of q, whose mean is zero: so its noise vanishes where q is the exact posterior
(Roeder et al. 2017, arXiv:1703.09194). The step is the natural gradient (Amari 1998): (g, sigma eps_t g / 2) in the
geometry of Gaussians, (1 / sigma^2, 1/2). So the same learning rate fits posteriors of any width. Without noise, the
whole natural gradient (a learning rate of 10) would lead to the mean of a Gaussian posterior in one step; with noise, a
tenth of it averages over some steps, and with a momentum of 0.5 it is almost critically damped: the best fixed factor
of those that were tried on digits. The published code divides the gradient by the batch size instead, and clips the
norm of a whole batch, which ties the steps of an example to its batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from skipvae.component import Component
from skipvae.decoders.base import Decoder
from skipvae.encoders.base import Encoder
from skipvae.posterior import DiagonalGaussian
from skipvae.score import Gradient, LogLikelihood, score

STEP_SIZE = 0.1
"""Share of the natural gradient that is a step at learning rate 1."""
LIMIT = 20.0
"""Largest mean and log-variance that a decoder is asked about: beyond, a refinement has diverged."""


class Inferred(NamedTuple):
    """What inference found, and how it got there."""

    posterior: DiagonalGaussian
    """q(z|x) that inference ends with, parameters (B, K)."""
    elbo_per_step: Tensor | None = None
    """The ELBO before each step and after the last, by one sample, nats, (B, num_steps + 1); None without steps."""
    diverged: Tensor | None = None
    """Which examples fell back to their best step since the ELBO was no longer finite, (B,)."""
    encoder_loss: Tensor | None = None
    """Scalar whose gradient trains the encoder where the loss of the posterior does not; its value says nothing."""


class Inference(Component, nn.Module, ABC):
    """x -> q(z|x).

    Attributes:
        uses_encoder: whether there is anything for an encoder to do.
    """

    uses_encoder: bool = True

    def check(self, decoder: Decoder, device: torch.device) -> str | None:
        """What to tell the user about how this inference works with a decoder on a device; None for nothing.

        Raises:
            ValueError: if it cannot work there.
        """
        return None

    @abstractmethod
    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """Infers q(z|x) for x (B, ...), with the weight beta for the KL in what is maximised."""


class Amortized(Inference):
    """q(z|x) is what the encoder says (Kingma & Welling 2014)."""

    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """The encoder's posterior."""
        assert encoder is not None
        return Inferred(encoder(x))


class Optimized(Inference):
    """Gradient ascent on the ELBO in the mean and log-variance, from a start that subclasses choose."""

    def __init__(self, num_steps: int, learning_rate: float, momentum: float, max_grad_norm: float) -> None:
        super().__init__()
        if num_steps < 1:
            raise ValueError(f"num_steps is {num_steps}: take at least 1, or skipvae.inference.Amortized for none")
        if not (learning_rate > 0 and max_grad_norm > 0 and 0 <= momentum < 1):
            raise ValueError(
                f"learning_rate={learning_rate} and max_grad_norm={max_grad_norm} must be positive, "
                f"and momentum={momentum} at least 0 and below 1"
            )
        self.num_steps, self.learning_rate = num_steps, learning_rate
        self.momentum, self.max_grad_norm = momentum, max_grad_norm

    def refine(
        self, start: DiagonalGaussian, likelihood: LogLikelihood, beta: float, gradient: Gradient
    ) -> tuple[Inferred, Tensor]:
        """Climbs from `start`; also returns the gradient of the ELBO by (mean, logvar) there, (B, 2K), a constant."""
        parameters = torch.cat([start.mean, start.logvar], -1)  # (B, 2K)
        best, velocity = parameters, torch.zeros_like(parameters)
        best_objective = torch.full_like(parameters[:, 0], -torch.inf)
        best_elbo = torch.full_like(best_objective, torch.nan)
        diverged = torch.zeros_like(best_objective, dtype=torch.bool)
        first_gradient, curve = torch.zeros_like(parameters), list[Tensor]()
        for t, noise in enumerate(torch.randn_like(start.mean.expand(self.num_steps + 1, -1, -1))):
            # Never where they are NaN. Where to start is not ours to say, so that is taken as it is.
            inside = (parameters.abs() < (LIMIT if t else torch.inf)).all(-1)
            q = DiagonalGaussian(*torch.where(inside[:, None], parameters, 0.0).chunk(2, -1))
            sigma = (0.5 * q.logvar).exp()
            z = q.rsample(noise)
            last = t == self.num_steps  # evaluated, so that it can be taken back, but no step is made from there
            log_p, slope = score(likelihood, z, "none" if last else gradient)
            slope = slope + beta * (noise / sigma - z)  # (B, K)
            kl = q.kl().sum(-1).detach()
            objective, elbo = log_p - beta * kl, log_p - kl
            diverged = diverged | ~(inside & objective.isfinite() & slope.detach().isfinite().all(-1))
            better = ~diverged & (objective > best_objective)
            best = torch.where(better[:, None], parameters, best)
            best_objective = torch.where(better, objective, best_objective)
            best_elbo = torch.where(better, elbo, best_elbo)
            curve.append(torch.where(diverged, best_elbo, elbo))
            if t == 0:
                first_gradient = torch.cat([slope, 0.5 * sigma * noise * slope], -1).detach()
            if not last:
                step = torch.cat([sigma.square() * slope, sigma * noise * slope], -1)
                velocity = self.momentum * velocity + self._clip(torch.where(diverged[:, None], 0.0, step))
                parameters = parameters + STEP_SIZE * self.learning_rate * velocity
            parameters = torch.where(diverged[:, None], best, parameters)
        end = DiagonalGaussian(*parameters.chunk(2, -1))
        return Inferred(end, torch.stack(curve, -1), diverged), first_gradient

    def _clip(self, step: Tensor) -> Tensor:
        """Shortens the steps (B, 2K) that are longer than max_grad_norm."""
        squared = step.square().sum(-1, keepdim=True)
        return step * (self.max_grad_norm * squared.clamp(min=self.max_grad_norm**2).rsqrt())


class SVI(Optimized):
    """Stochastic variational inference (Hoffman et al. 2013): every example starts at the prior, there is no encoder.

    Args:
        num_steps: steps of gradient ascent.
        learning_rate: of the steps.
        momentum: of the steps.
        max_grad_norm: longest step of an example before momentum and learning rate.

    Raises:
        ValueError: if a setting is out of range.
    """

    uses_encoder = False

    def __init__(
        self, num_steps: int = 20, learning_rate: float = 1.0, momentum: float = 0.5, max_grad_norm: float = 5.0
    ) -> None:
        super().__init__(num_steps, learning_rate, momentum, max_grad_norm)

    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """What the steps make of N(0, I); a constant, so that only the decoder is trained."""
        with outside_inference_mode(), torch.no_grad():
            x = ordinary(x)
            zero = next(decoder.parameters()).new_zeros(len(x), decoder.latent_dim)
            return self.refine(DiagonalGaussian(zero, zero), LogLikelihood(decoder, x), beta, "none")[0]


class SemiAmortized(Optimized):
    """The encoder's posterior, improved by steps of gradient ascent (Kim et al. 2018, arXiv:1802.02550).

    Args:
        num_steps: steps of gradient ascent.
        learning_rate: of the steps.
        momentum: of the steps.
        max_grad_norm: longest step of an example before momentum and learning rate.
        gradient: how the loss reaches the encoder, and the decoder a second time, through the steps: "exact" by
            differentiating them; "finite_difference" by differences of gradients, for decoders without second
            derivative and for memory that does not grow with num_steps; "none" not at all; "auto" takes "exact"
            but for recurrent decoders, where differences are faster, and all that works with cuDNN.
        encoder_loss: what trains the encoder with gradient="none": its own "elbo" (VAE+SVI), or "kl", the divergence
            of its posterior from the refined one, KL(refined || encoder) (VAE+SVI+KL).

    Raises:
        ValueError: if a setting is out of range; in `check` and in use, if the decoder has no second derivative
            on its device and gradient="exact" asks for it.

    Example:
        >>> from skipvae import VAE
        >>> from skipvae.decoders import MLPDecoder
        >>> from skipvae.encoders import MLPEncoder
        >>> model = VAE(MLPEncoder(2, hidden_dim=8), MLPDecoder(2, hidden_dim=8), SemiAmortized(num_steps=3))
        >>> model.infer(torch.zeros(5, 1, 28, 28)).mean.shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        num_steps: int = 20,
        learning_rate: float = 1.0,
        momentum: float = 0.5,
        max_grad_norm: float = 5.0,
        gradient: Literal["auto", "exact", "finite_difference", "none"] = "auto",
        encoder_loss: Literal["elbo", "kl"] = "elbo",
    ) -> None:
        super().__init__(num_steps, learning_rate, momentum, max_grad_norm)
        for name, value, known in (
            ("gradient", gradient, ("auto", "exact", "finite_difference", "none")),
            ("encoder_loss", encoder_loss, ("elbo", "kl")),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}: choose from {', '.join(known)}")
        self.gradient, self.encoder_loss = gradient, encoder_loss

    def check(self, decoder: Decoder, device: torch.device) -> str | None:
        """See `Inference.check`."""
        chosen = self._gradient(decoder, device)
        return f"semi-amortised inference: gradient=auto is {chosen} here" if self.gradient == "auto" else None

    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """What the steps make of the encoder's posterior; beta is the weight of the KL in what they maximise."""
        assert encoder is not None
        start: DiagonalGaussian = encoder(x)
        learns = torch.is_grad_enabled()
        gradient = self._gradient(decoder, x.device) if learns else "none"
        with outside_inference_mode(), torch.set_grad_enabled(gradient != "none"):
            begin = DiagonalGaussian(ordinary(start.mean), ordinary(start.logvar))
            inferred, slope = self.refine(begin, LogLikelihood(decoder, ordinary(x)), beta, gradient)
        if learns and gradient == "none":
            loss = divergence(inferred.posterior, start)
            if self.encoder_loss == "elbo":
                loss = -(torch.cat([start.mean, start.logvar], -1) * slope).sum(-1)
            inferred = inferred._replace(encoder_loss=loss.mean())
        return inferred

    def _gradient(self, decoder: Decoder, device: torch.device) -> Gradient:
        if self.gradient in ("finite_difference", "none"):
            return self.gradient
        possible = decoder.twice_differentiable(device)
        if self.gradient == "auto":
            return "exact" if possible and not decoder.recurrent else "finite_difference"
        if possible:
            return "exact"
        raise ValueError(
            "cuDNN's recurrent networks have no second derivative: set the inference's gradient to finite_difference, "
            "or torch.backends.cudnn.enabled to False"
        )


def divergence(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """KL(q || p) in nats, (B,)."""
    squared = (q.logvar.exp() + (q.mean - p.mean).square()) * (-p.logvar).exp()
    return 0.5 * (p.logvar - q.logvar + squared - 1.0).sum(-1)


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Where gradients can be taken although an evaluation runs in PyTorch's inference mode, as Lightning's do."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False):
        torch.clear_autocast_cache()  # weights that inference mode cast can take part in no gradient
        yield


def ordinary(x: Tensor) -> Tensor:
    """x, or a copy of it if inference mode made it."""
    return x.clone() if x.is_inference() else x
