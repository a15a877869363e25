"""The contract of likelihoods: the parameters that a decoder computes, and x, to log p(x)."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from skipvae.likelihoods.measure import Measure
from skipvae.persistence.spec import Component

LEVELS = 256
"""Values of a byte: x is one of 0, 1/255, ..., 1."""


class Likelihood(Component, nn.Module, ABC):
    """p(x | parameters), independent for each pixel of an image or each column of a table.

    x is (B, C, ...): images (B, C, H, W), and tables (B, D), each column a channel. The parameters of all channels of a
    pixel are (B, P, ...) with P = `num_parameters(C)`, as a convolution with P output channels gives them.

    Attributes:
        measure: whether log p(x) is the log of a probability or of a density, and of which data.
    """

    measure: Measure

    @abstractmethod
    def num_parameters(self, channels: int) -> int:
        """P, the number of parameters of a pixel with this many channels."""

    @abstractmethod
    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """log p(x | parameters) in nats, (B,), summed over pixels and channels, in float32 or wider.

        Args:
            parameters: (B, P, ...).
            x: (B, C, ...).
        """

    def num_uniforms(self, channels: int) -> int:
        """U, the number of uniform random numbers that a pixel with this many channels is drawn from."""
        return channels

    @abstractmethod
    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """x ~ p(x | parameters), (B, C, ...), as a function of noise.

        Args:
            parameters: (B, P, ...).
            uniform: independent and uniform on [0, 1), (B, U, ...) with U = `num_uniforms(C)`.
        """

    @property
    def joint(self) -> bool:
        """Whether the channels of a pixel depend on each other by the likelihood itself.

        Then a decoder that generates pixel by pixel computes the parameters of all of them at once, and not those of
        each channel given the channels before it.
        """
        return False

    def num_channels(self, num_parameters: int) -> int:
        """C, from the number of parameters of a pixel."""
        return num_parameters // self.num_parameters(1)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x ~ p(x | parameters), (B, C, ...)."""
        parameters = wide(parameters)
        batch, number, *rest = parameters.shape
        shape = (batch, self.num_uniforms(self.num_channels(number)), *rest)
        uniform = torch.rand(shape, generator=generator, device=parameters.device, dtype=parameters.dtype)
        return self.draw(parameters, uniform)

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """The mean of x, (B, C, ...)."""

    @abstractmethod
    def check(self, x: Tensor) -> Measure:
        """The meaning of log p(x) for such data: `measure`, unless the data are accepted with less.

        Raises:
            ValueError: for data that this is no likelihood of, with the one to use instead.
        """


def wide(parameters: Tensor) -> Tensor:
    """In float32 where autocast gave less: a sum over a thousand pixels in bfloat16 would be off by whole nats."""
    return parameters.float() if parameters.dtype in (torch.bfloat16, torch.float16) else parameters


def per_channel(parameters: Tensor, size: int) -> Tensor:
    """Parameters (B, size x C, ...) as (B, size, C, ...)."""
    return parameters.reshape(parameters.shape[0], size, -1, *parameters.shape[2:])


def inside(uniform: Tensor) -> Tensor:
    """The same, on the open interval (0, 1), so that logarithms are finite."""
    limits = torch.finfo(uniform.dtype)
    return uniform.clamp(limits.tiny, 1 - limits.eps)


def in_unit_interval(x: Tensor) -> bool:
    """Whether all values are floats from 0 to 1; not so if there is a NaN."""
    return x.is_floating_point() and bool(((x >= 0) & (x <= 1)).all())


def is_binary(x: Tensor) -> bool:
    """Whether all values are 0 or 1."""
    return bool(((x == 0) | (x == 1)).all())


def levels(x: Tensor) -> Tensor:
    """The byte, 0 to 255, behind each value of x, as int64."""
    return (x * (LEVELS - 1)).round().long()


def are_levels(x: Tensor) -> bool:
    """Whether all values are k / 255 for whole k, to the precision of bfloat16's rounding of the data in float32."""
    return in_unit_interval(x) and bool(((x * (LEVELS - 1)) - (x * (LEVELS - 1)).round()).abs().max() < 1e-3)


def describe(x: Tensor) -> str:
    """The type and range of the data, for messages."""
    name = str(x.dtype).removeprefix("torch.")
    return f"{name} from {x.min():g} to {x.max():g}" if x.numel() else f"{name} without values"
