"""Inference by gradient ascent on the ELBO in lambda = (mean, logvar), from zero or from the posterior of an encoder.

Every step t has its own noise eps_t: in training from the random number generator, in evaluation a function of the
example, so that the posterior is one of x and the weights alone. The gradient and the step are those of a rule
(`skipvae.inference.rules`):

    z = mean + sigma eps_t
    g = gradient of log p(x|z) - beta KL(q || p) w.r.t. lambda
    velocity = momentum velocity + step(g)
    lambda = lambda + learning_rate velocity
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch
from torch import Tensor

from skipvae.decoders.base import Decoder
from skipvae.encoders.base import Encoder
from skipvae.inference.amortized import Inference, Inferred
from skipvae.inference.example_noise import example_noise
from skipvae.inference.likelihood_gradient import Gradient, LogLikelihood, score
from skipvae.inference.rules import RULES
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian

RuleName = Literal["natural", "published"]
Choice = TypeVar("Choice", bound=str)


class Record:
    """The best parameters (B, 2K) of each example so far, and the ELBO of each step.

    An example has diverged where its bound or its gradient is no longer finite, or its parameters are beyond the limit
    of the rule: it stays at its best ones from then on.
    """

    def __init__(self, parameters: Tensor) -> None:
        self.parameters = parameters
        self.objective = torch.full_like(parameters[:, 0], -torch.inf)
        self.elbo = torch.full_like(self.objective, torch.nan)
        self.diverged = torch.zeros_like(self.objective, dtype=torch.bool)
        self.curve = list[Tensor]()

    def add(self, parameters: Tensor, objective: Tensor, elbo: Tensor, valid: Tensor) -> None:
        """Takes in the parameters of a step, what is maximised and the ELBO there (B,), and whether they are valid."""
        self.diverged = self.diverged | ~(valid & objective.isfinite())
        better = ~self.diverged & (objective > self.objective)
        self.parameters = torch.where(better[:, None], parameters, self.parameters)
        self.objective = torch.where(better, objective, self.objective)
        self.elbo = torch.where(better, elbo, self.elbo)
        self.curve.append(torch.where(self.diverged, self.elbo, elbo))


class Optimized(Inference):
    """Gradient ascent on the ELBO in the mean and log-variance, from a start that subclasses choose."""

    def __init__(
        self,
        num_steps: int,
        learning_rate: float,
        momentum: float,
        max_grad_norm: float,
        rule: RuleName,
        anneal_validation: bool,
    ) -> None:
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
        self.rule = RULES[choice("rule", rule, RULES)]
        self.anneal_validation = anneal_validation

    def refine(
        self, start: DiagonalGaussian, likelihood: LogLikelihood, beta: float, gradient: Gradient
    ) -> tuple[Inferred, Tensor]:
        """Climbs from `start`; also returns the gradient of the ELBO w.r.t. (mean, logvar) there, (B, 2K), a constant.

        The parameters after the last step are evaluated as well, so that they can be taken back.
        """
        parameters = torch.cat([start.mean, start.logvar], -1)  # (B, 2K)
        record, velocity = Record(parameters), torch.zeros_like(parameters)
        first_gradient = torch.zeros_like(parameters)
        for t, noise in enumerate(self._noise(start.mean, likelihood.x)):
            # Never where they are NaN. The start itself is taken as it is given.
            inside = (parameters.abs() < (self.rule.limit if t else torch.inf)).all(-1)
            q = DiagonalGaussian(*torch.where(inside[:, None], parameters, 0.0).chunk(2, -1))
            is_last = t == self.num_steps
            log_p, grad_z = score(likelihood, q.rsample(noise), "none" if is_last else gradient)
            ascent = self.rule.gradient(q, noise, grad_z, beta)
            kl = q.kl().sum(-1).detach()
            record.add(parameters, log_p - beta * kl, log_p - kl, inside & ascent.detach().isfinite().all(-1))
            if t == 0:
                first_gradient = ascent.detach()
            if not is_last:
                ascent = torch.where(record.diverged[:, None], 0.0, ascent)
                velocity = self.momentum * velocity + self.rule.step(q, ascent, self.max_grad_norm)
                parameters = parameters + self.rule.rate * self.learning_rate * velocity
            parameters = torch.where(record.diverged[:, None], record.parameters, parameters)
        end = DiagonalGaussian(*parameters.chunk(2, -1))
        return Inferred(end, torch.stack(record.curve, -1), record.diverged), first_gradient

    def _noise(self, like: Tensor, x: Tensor) -> Tensor:
        """Standard normal numbers for each step and for the end, (num_steps + 1, B, K), for means (B, K)."""
        if self.training:
            return torch.randn_like(like.expand(self.num_steps + 1, -1, -1))
        return example_noise(x, self.num_steps + 1, like.shape[-1], like.dtype)


class SVI(Optimized):
    """Stochastic variational inference (Hoffman et al. 2013): every example starts at the prior, there is no encoder.

    Args:
        num_steps: steps of gradient ascent.
        learning_rate: of the steps.
        momentum: of the steps.
        max_grad_norm: where gradients are clipped, as the rule says.
        rule: "natural", ours, or "published"; see `skipvae.inference.rules`.
        anneal_validation: whether the steps in the validations of a training use the annealed weight of the KL, as in
            the published code.

    Raises:
        ValueError: if a setting is out of range.
    """

    uses_encoder = False

    def __init__(
        self,
        num_steps: int = 20,
        learning_rate: float = 1.0,
        momentum: float = 0.5,
        max_grad_norm: float = 5.0,
        rule: RuleName = "natural",
        anneal_validation: bool = False,
    ) -> None:
        super().__init__(num_steps, learning_rate, momentum, max_grad_norm, rule, anneal_validation)

    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """The posterior after the steps from N(0, I); a constant, so that only the decoder is trained."""
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
        max_grad_norm: where gradients are clipped, as the rule says.
        gradient: how the loss reaches the encoder, and the decoder a second time, through the steps: "exact" by
            differentiating them; "finite_difference" by differences of gradients, for decoders without second
            derivative and for memory that does not grow with num_steps; "none" not at all; "auto" takes "exact"
            but for recurrent decoders, where differences are faster, and all that works with cuDNN.
        encoder_loss: the loss of the encoder with gradient="none": its own "elbo" (VAE+SVI), or "kl", the divergence
            KL(encoder || refined) of its posterior from the refined one (VAE+SVI+KL, as in the published code), or
            "reversed_kl", KL(refined || encoder).
        rule: "natural", ours, or "published"; see `skipvae.inference.rules`. The published backward pass through the
            steps is not that of its own steps where clipping acts; ours is the exact one for both rules.
        anneal_validation: whether the steps in the validations of a training use the annealed weight of the KL, as in
            the published code.

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
        encoder_loss: Literal["elbo", "kl", "reversed_kl"] = "elbo",
        rule: RuleName = "natural",
        anneal_validation: bool = False,
    ) -> None:
        super().__init__(num_steps, learning_rate, momentum, max_grad_norm, rule, anneal_validation)
        self.gradient = choice("gradient", gradient, ("auto", "exact", "finite_difference", "none"))
        self.encoder_loss = choice("encoder_loss", encoder_loss, ("elbo", "kl", "reversed_kl"))

    def check(self, decoder: Decoder, device: torch.device) -> str | None:
        """See `Inference.check`."""
        chosen = self._gradient(decoder, device)
        return f"semi-amortised inference: gradient=auto is {chosen} here" if self.gradient == "auto" else None

    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """The posterior after the steps from the encoder's; beta is the weight of the KL in what they maximise."""
        assert encoder is not None
        start: DiagonalGaussian = encoder(x)
        learns = torch.is_grad_enabled()
        gradient = self._gradient(decoder, x.device) if learns else "none"
        with outside_inference_mode(), torch.set_grad_enabled(gradient != "none"):
            begin = DiagonalGaussian(ordinary(start.mean), ordinary(start.logvar))
            inferred, grad = self.refine(begin, LogLikelihood(decoder, ordinary(x)), beta, gradient)
        if learns and gradient == "none":
            inferred = inferred._replace(encoder_loss=self._encoder_loss(start, inferred.posterior, grad).mean())
        return inferred

    def _encoder_loss(self, start: DiagonalGaussian, refined: DiagonalGaussian, grad: Tensor) -> Tensor:
        """The loss of the encoder's posterior, (B,), given the gradient of its ELBO, (B, 2K)."""
        if self.encoder_loss == "kl":
            return divergence(start, refined)
        if self.encoder_loss == "reversed_kl":
            return divergence(refined, start)
        return -(torch.cat([start.mean, start.logvar], -1) * grad).sum(-1)  # its gradient is that of -ELBO

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


def choice(name: str, value: Choice, known: Iterable[str]) -> Choice:
    """The value of a setting, or a ValueError that names the known ones."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}: choose from {', '.join(known)}")
    return value


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
