"""Inference by gradient ascent on the ELBO in lambda = (mean, logvar), from N(0, I) or from the encoder's posterior.

The loop, for t = 0 .. num_steps, in the names of the code:

    z        = mean + sigma eps_t                                          a sample of q = N(mean, sigma^2)
    bound    = log p(x|z) - beta KL(q || p)                                what is maximised
    g        = gradient of bound w.r.t. lambda                             `Rule.gradient`
    best     = lambda of the highest bound so far                          `Best.update`, for each example
    velocity = momentum velocity + step(g)                                 `Rule.step`
    lambda   = lambda + rate learning_rate velocity

Every t has its own noise eps_t: in training from the random number generator, in evaluation a function of the example,
so that the posterior is one of x and the weights alone. At t = num_steps only the bound is evaluated, so that the last
step can be undone if it diverged.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from skipvae.inference.amortized import Inference, Inferred
from skipvae.inference.likelihood_gradient import LogLikelihood, SecondDerivative, value_and_grad_z
from skipvae.inference.rules import RULES
from skipvae.nn.choices import check_choice
from skipvae.nn.example_noise import example_noise
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian

RuleName = Literal["natural", "published"]


class Bound(NamedTuple):
    """The bound of each example at some lambda by one sample of z, and its gradient."""

    q: DiagonalGaussian
    """N(mean, exp(logvar)), parameters (B, K)."""
    value: Tensor
    """log p(x|z) - beta KL(q || p), nats, (B,), a constant."""
    elbo: Tensor
    """The same with beta = 1, nats, (B,), a constant."""
    gradient: Tensor
    """Of the value w.r.t. lambda, (B, 2K)."""
    valid: Tensor
    """Whether value and gradient are finite and lambda is within the limit of the rule, (B,)."""


class Best:
    """The lambda (B, 2K) of the highest bound of each example so far, and the ELBO of each step.

    An example diverges at the first bound that is not valid; from then on its best lambda stays as it is.
    """

    def __init__(self, lam: Tensor) -> None:
        self.lam = lam
        self.value = torch.full_like(lam[:, 0], -torch.inf)
        self.elbo = torch.full_like(self.value, torch.nan)
        self.diverged = torch.zeros_like(self.value, dtype=torch.bool)
        self.elbo_per_step = list[Tensor]()

    def update(self, lam: Tensor, bound: Bound) -> None:
        """Records the bound at lambda (B, 2K)."""
        self.diverged = self.diverged | ~bound.valid
        better = ~self.diverged & (bound.value > self.value)
        self.lam = torch.where(better[:, None], lam, self.lam)
        self.value = torch.where(better, bound.value, self.value)
        self.elbo = torch.where(better, bound.elbo, self.elbo)
        self.elbo_per_step.append(torch.where(self.diverged, self.elbo, bound.elbo))

    def where_diverged(self, lam: Tensor) -> Tensor:
        """lambda (B, 2K), with the best one in place of it for examples that have diverged."""
        return torch.where(self.diverged[:, None], self.lam, lam)


class GradientAscent(Inference):
    """Gradient ascent on the ELBO in lambda = (mean, logvar); subclasses choose where it starts.

    Args:
        num_steps: steps of gradient ascent.
        learning_rate: of the steps.
        momentum: of the steps, at least 0 and below 1.
        max_grad_norm: the norm at which gradients are clipped, in the way of the rule.
        rule: "natural", ours, or "published"; see `skipvae.inference.rules`.
        anneal_validation: whether validations during training use the annealed weight of the KL in the steps, as the
            published code does.

    Raises:
        ValueError: if a setting is out of range.
    """

    def __init__(
        self,
        num_steps: int = 20,
        learning_rate: float = 1.0,
        momentum: float = 0.5,
        max_grad_norm: float = 5.0,
        rule: RuleName = "natural",
        anneal_validation: bool = False,
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
        self.rule = RULES[check_choice("rule", rule, RULES)]
        self.anneal_validation = anneal_validation

    def refine(
        self, start: DiagonalGaussian, log_likelihood: LogLikelihood, beta: float, second_derivative: SecondDerivative
    ) -> tuple[Inferred, Tensor]:
        """The loop of the module's docstring.

        Args:
            start: q at t = 0, parameters (B, K).
            log_likelihood: z -> log p(x|z).
            beta: weight of the KL in the bound.
            second_derivative: how the steps can be differentiated.

        Returns:
            The posterior after the last step, and the gradient of the bound w.r.t. lambda at t = 0: (B, 2K), constant.
        """
        noise = self._noise(start.mean, log_likelihood.x)
        lam = torch.cat([start.mean, start.logvar], -1)  # lambda, (B, 2K)
        velocity = torch.zeros_like(lam)
        best = Best(lam)
        first = bound = self._bound(lam, noise[0], log_likelihood, beta, second_derivative, limit=torch.inf)
        best.update(lam, bound)
        for t in range(1, self.num_steps + 1):
            gradient = torch.where(best.diverged[:, None], 0.0, bound.gradient)
            velocity = self.momentum * velocity + self.rule.step(bound.q, gradient, self.max_grad_norm)
            lam = best.where_diverged(lam + self.rule.rate * self.learning_rate * velocity)
            # The gradient at the end is only checked to be finite.
            how = second_derivative if t < self.num_steps else "none"
            bound = self._bound(lam, noise[t], log_likelihood, beta, how, self.rule.limit)
            best.update(lam, bound)
        end = DiagonalGaussian(*best.where_diverged(lam).chunk(2, -1))
        return Inferred(end, torch.stack(best.elbo_per_step, -1), best.diverged), first.gradient.detach()

    def _bound(
        self,
        lam: Tensor,
        noise: Tensor,
        log_likelihood: LogLikelihood,
        beta: float,
        second_derivative: SecondDerivative,
        limit: float,
    ) -> Bound:
        """The bound at lambda (B, 2K) by the sample of the noise (B, K)."""
        # The decoder never sees a z that is NaN or far away: zero takes the place of such a lambda.
        inside = (lam.abs() < limit).all(-1)
        q = DiagonalGaussian(*torch.where(inside[:, None], lam, 0.0).chunk(2, -1))
        log_p, grad_z = value_and_grad_z(log_likelihood, q.rsample(noise), second_derivative)
        gradient = self.rule.gradient(q, noise, grad_z, beta)
        kl = q.kl().sum(-1).detach()
        value = log_p - beta * kl
        valid = inside & value.isfinite() & gradient.detach().isfinite().all(-1)
        return Bound(q, value, log_p - kl, gradient, valid)

    def _noise(self, mean: Tensor, x: Tensor) -> Tensor:
        """eps_0 .. eps_num_steps for means (B, K): standard normal, (num_steps + 1, B, K)."""
        if self.training:
            return torch.randn_like(mean.expand(self.num_steps + 1, -1, -1))
        return example_noise(x, self.num_steps + 1, mean.shape[-1], mean.dtype)
