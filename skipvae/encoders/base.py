"""What every encoder offers: x -> q(z|x)."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from skipvae.persistence.spec import Component
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class Encoder(Component, nn.Module, ABC):
    """Amortised inference network. Attributes: `latent_dim`, the size K of z."""

    latent_dim: int

    @abstractmethod
    def forward(self, x: Tensor) -> DiagonalGaussian:
        """The posterior q(z|x), parameters (B, K)."""
