"""The interface of inference, and inference by the encoder alone."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skipvae.decoders.base import Decoder
from skipvae.encoders.base import Encoder
from skipvae.persistence.spec import Component
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class Inferred(NamedTuple):
    """The result of inference, and how it was reached."""

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
        anneal_validation: whether inference in the validations of a training uses the annealed weight of the KL.
    """

    uses_encoder: bool = True
    anneal_validation: bool = False

    def check(self, decoder: Decoder, device: torch.device) -> str | None:
        """A message to the user about how this inference works with a decoder on a device; None for nothing.

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
