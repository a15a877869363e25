"""How the approximate posterior q(z|x) of an example is obtained."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from skipvae.component import Component
from skipvae.encoders.base import Encoder
from skipvae.posterior import DiagonalGaussian

Objective = Callable[[DiagonalGaussian], Tensor]
"""What inference maximises: q(z|x) -> ELBO of each example, (B,), with the sampling noise held fixed."""


class Inference(Component, nn.Module, ABC):
    """x -> q(z|x), from an encoder, from optimisation, or from both."""

    @abstractmethod
    def forward(self, encoder: Encoder, x: Tensor, objective: Objective) -> DiagonalGaussian:
        """The posterior that inference ends with.

        Args:
            encoder: the inference network.
            x: (B, ...).
            objective: the ELBO as a function of the posterior; unused where the encoder has the last word.
        """


class Amortized(Inference):
    """q(z|x) is what the encoder says (Kingma & Welling 2014)."""

    def forward(self, encoder: Encoder, x: Tensor, objective: Objective) -> DiagonalGaussian:
        """The encoder's posterior, parameters (B, K)."""
        return encoder(x)  # type: ignore[no-any-return]
