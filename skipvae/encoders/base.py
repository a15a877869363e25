"""The interface of encoders: x -> q(z|x)."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from skipvae.persistence.spec import Component
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class Encoder(Component, nn.Module, ABC):
    """An inference network, x -> q(z|x).

    Attributes:
        latent_dim: the size K of z.
    """

    latent_dim: int

    @abstractmethod
    def forward(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x), parameters (B, K), for x (B, ...)."""
