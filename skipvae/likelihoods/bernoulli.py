"""Likelihoods of values from 0 to 1 by one logit each: of binary data, and of continuous data."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from skipvae.likelihoods.base import Likelihood, describe, in_unit_interval, is_binary, wide
from skipvae.likelihoods.measure import Measure


class Bernoulli(Likelihood):
    """log p(x) = sum of x log p + (1 - x) log(1 - p), p = sigmoid(parameter), for binary x.

    Grey values in between are accepted, but what comes out is then no log-density; tables of results say so.

    Example:
        >>> Bernoulli().log_prob(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
        tensor([-2.7726])
    """

    measure = Measure.BINARY

    def num_parameters(self, channels: int) -> int:
        """One logit for each channel."""
        return channels

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """See `Likelihood.log_prob`."""
        logits = wide(parameters)
        return -F.binary_cross_entropy_with_logits(logits, x.to(logits.dtype), reduction="none").flatten(1).sum(1)

    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """See `Likelihood.draw`; zeros and ones."""
        return (wide(parameters) > uniform.logit()).to(uniform.dtype)  # u < sigmoid(l) where logit(u) < l

    def mean(self, parameters: Tensor) -> Tensor:
        """The probability of a one, (B, C, ...)."""
        return wide(parameters).sigmoid()

    def check(self, x: Tensor) -> Measure:
        """See `Likelihood.check`."""
        if not in_unit_interval(x):
            raise ValueError(
                f"values must be floats from 0 to 1, but are {describe(x)}: scale them, bytes by x.float() / 255, "
                "-1 to 1 by (x + 1) / 2, columns of 0 and 1 by data.standardize false, or take "
                "skipvae.likelihoods.Gaussian"
            )
        return self.measure if is_binary(x) else Measure.NEITHER


class ContinuousBernoulli(Likelihood):
    """The Bernoulli density normalised over [0, 1]: with l = parameter,

        log p(x) = x l - softplus(l) + log C(l),    C(l) = l / tanh(l / 2).

    It is computed from l, since 1 - sigmoid(l), on which `torch.distributions.ContinuousBernoulli` is based, loses its
    digits in float32 from l = 10 on.

    Source: Loaiza-Ganem & Cunningham (2019), *The continuous Bernoulli*, eq. 2, 6 and 7.

    Example:
        >>> ContinuousBernoulli().log_prob(torch.zeros(1, 1, 2, 2), torch.rand(1, 1, 2, 2))  # uniform: a density of 1
        tensor([0.])
    """

    measure = Measure.DENSITY

    def num_parameters(self, channels: int) -> int:
        """One logit for each channel."""
        return channels

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """See `Likelihood.log_prob`."""
        logits = wide(parameters)
        near, far = _near_zero(logits)
        log_half_c = torch.where(near, logits.square() / 12, (far / 2 / (far / 2).tanh()).log())  # of C / 2
        return (x.to(logits.dtype) * logits - F.softplus(logits) + math.log(2) + log_half_c).flatten(1).sum(1)

    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """See `Likelihood.draw`; from 0 to 1, by the inverse of the cumulative distribution."""
        near, far = _near_zero(wide(parameters))
        # For l > 0, and by the symmetry of x and 1 - x for l < 0: nothing overflows.
        inverse = 1 + torch.log(uniform + (1 - uniform) * (-far.abs()).exp()) / far.abs()
        return torch.where(near, uniform, torch.where(far > 0, inverse, 1 - inverse)).clamp(0, 1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The mean 1/2 + 1/(2 tanh(l/2)) - 1/l, (B, C, ...); not sigmoid(l)."""
        logits = wide(parameters)
        near, far = _near_zero(logits)
        return torch.where(near, 0.5 + logits / 12, 0.5 + 0.5 / (far / 2).tanh() - 1 / far)

    def check(self, x: Tensor) -> Measure:
        """See `Likelihood.check`."""
        if not in_unit_interval(x):
            raise ValueError(
                f"a continuous Bernoulli likelihood is one of floats from 0 to 1, but x is {describe(x)}: scale the "
                "data, or use skipvae.likelihoods.Gaussian"
            )
        return self.measure


def _near_zero(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Where l is so small that l / tanh(l / 2) is taken by its series, and l elsewhere, with 1 in those positions."""
    near = logits.abs() < (1e-3 if logits.dtype == torch.float64 else 2e-2)
    return near, torch.where(near, torch.ones_like(logits), logits)
