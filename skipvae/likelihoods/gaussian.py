"""The likelihood of real values: Gaussian, with a scale that is learnt."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from skipvae.likelihoods.base import LEVELS, Likelihood, are_levels, describe, inside, wide
from skipvae.likelihoods.measure import Measure
from skipvae.nn.choices import check_choice
from skipvae.nn.example_noise import example_uniform

LOG_2PI = math.log(2 * math.pi)
GAIN = 10.0
"""log s = GAIN x weight: a step of Adam, of about its learning rate, moves log s ten times as far, so that the scale is
at its optimum within an epoch, whatever the unit of the data."""


class Gaussian(Likelihood):
    """log p(x) = sum of log N(x; mean, s^2), where the mean is the parameter and s is learnt, one or one per channel.

    With `dequantize`, x is a byte k / 255, and the density is that of (k + u) / 256 with u uniform on [0, 1). Its mean
    over u, less log 256 for each value as here, is a lower bound of the log-probability of the bytes (Theis, van den
    Oord & Bethge 2016, *A note on the evaluation of generative models*, section 3.1). In evaluation u is a function of
    the example, so that log p(x|z) is one of x and z, and differences of it are due to z alone.

    Args:
        scale: s at the start.
        learn: "one" scale for all values, one for each "channel", or "none": it stays.
        channels: C, for learn: channel.
        dequantize: whether the data are bytes, which a density alone would be unbounded for.
        min_scale: of learnt scales: s^2 = e^(2 log s) + min_scale^2, so that values which z predicts exactly, such as
            those of a column that is nearly constant, have no unbounded density either.

    Raises:
        ValueError: if scale is not above 0, min_scale is below 0 or without a learnt scale, there is no such learn, or
            learn: channel and channels are not given together.

    Example:
        >>> Gaussian().log_prob(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3)) / 3  # -log(2 pi) / 2
        tensor([-0.9189], grad_fn=<DivBackward0>)
    """

    def __init__(
        self,
        scale: float = 1.0,
        learn: Literal["one", "channel", "none"] = "one",
        channels: int | None = None,
        dequantize: bool = False,
        min_scale: float = 0.0,
    ) -> None:
        super().__init__()
        if min_scale < 0:
            raise ValueError(f"min_scale={min_scale} must be 0 or more: it is a standard deviation")
        if not scale > 0:
            raise ValueError(f"scale={scale} must be above 0: it is a standard deviation")
        check_choice("learn", learn, ("one", "channel", "none"))
        if (learn == "channel") != (channels is not None):
            raise ValueError(f"learn: channel needs channels, the number of them; learn: {learn} takes none")
        if min_scale and learn == "none":
            raise ValueError(f"min_scale={min_scale} is for learnt scales: leave it out with learn: none")
        self.dequantize, self.learn, self.min_scale = dequantize, learn, min_scale
        self.measure = Measure.BYTES_BOUND if dequantize else Measure.DENSITY
        start = torch.full((1 if channels is None else channels,), math.log(scale) / GAIN)
        self.weight = nn.Parameter(start, requires_grad=learn != "none")

    @property
    def log_scale(self) -> Tensor:
        """log s, (1,) or (C,)."""
        log_scale = GAIN * self.weight
        return 0.5 * ((2 * log_scale).exp() + self.min_scale**2).log() if self.min_scale else log_scale

    def num_parameters(self, channels: int) -> int:
        """One mean for each channel.

        Raises:
            ValueError: if there is a scale for each of another number of channels.
        """
        if self.learn == "channel" and len(self.weight) != channels:
            raise ValueError(f"channels={len(self.weight)} of the Gaussian, but x has {channels}: make them equal")
        return channels

    def num_channels(self, num_parameters: int) -> int:
        """See `Likelihood.num_channels`."""
        return num_parameters

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """See `Likelihood.log_prob`; with dequantize, by one u."""
        mean = wide(parameters)
        x = x.to(mean.dtype)
        offset = 0.0
        if self.dequantize:
            x = (x * (LEVELS - 1) + (torch.rand_like(x) if self.training else example_uniform(x))) / LEVELS
            offset = -math.log(LEVELS)
        log_scale = self.log_scale.view(-1, *[1] * (x.dim() - 2)).to(mean.dtype)
        error = (x - mean) * (-log_scale).exp()
        return (-0.5 * (error.square() + LOG_2PI) - log_scale + offset).flatten(1).sum(1)

    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """See `Likelihood.draw`; bytes k / 255 with dequantize."""
        mean, noise = wide(parameters), torch.special.ndtri(inside(uniform))
        x: Tensor = mean + self.log_scale.view(-1, *[1] * (mean.dim() - 2)).exp().to(mean.dtype) * noise
        return (x * LEVELS).floor().clamp(0, LEVELS - 1) / (LEVELS - 1) if self.dequantize else x

    def mean(self, parameters: Tensor) -> Tensor:
        """The mean, (B, C, ...)."""
        mean = wide(parameters)
        return ((mean * LEVELS - 0.5) / (LEVELS - 1)).clamp(0, 1) if self.dequantize else mean

    def check(self, x: Tensor) -> Measure:
        """See `Likelihood.check`."""
        if not x.is_floating_point() or not bool(x.isfinite().all()):
            raise ValueError(f"a Gaussian likelihood is one of finite floats, but x is {describe(x)}")
        if self.dequantize and not are_levels(x):
            raise ValueError(f"dequantize: true is for bytes, as floats k / 255, but x is {describe(x)}: leave it out")
        return self.measure
