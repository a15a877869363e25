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
    """The result of inference."""

    posterior: DiagonalGaussian
    """q(z|x) at the end of inference, parameters (B, K)."""
    elbo_per_step: Tensor | None = None
    """The ELBO before each step and after the last, by one sample, nats, (B, num_steps + 1); None without steps."""
    diverged: Tensor | None = None
    """Whether the steps of an example diverged, so that it has its best step instead of the last, (B,)."""
    encoder_loss: Tensor | None = None
    """Scalar whose gradient trains the encoder where that of the ELBO does not reach it; its value has no meaning."""


class Inference(Component, nn.Module, ABC):
    """x -> q(z|x).

    Attributes:
        uses_encoder: whether q(z|x) depends on an encoder.
        anneal_validation: whether validations during training use the annealed weight of the KL in inference.
    """

    uses_encoder: bool = True
    anneal_validation: bool = False

    def check(self, decoder: Decoder, device: torch.device) -> str | None:
        """A user message about how this inference works with a decoder on a device; None for no message.

        Raises:
            ValueError: if it cannot work there.
        """
        return None

    @abstractmethod
    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """q(z|x) for a batch.

        Args:
            encoder: x -> q(z|x); None where `uses_encoder` is false.
            decoder: p(x|z).
            x: (B, ...).
            beta: weight of the KL in the bound that is maximised.
        """


class Amortized(Inference):
    """q(z|x) = encoder(x).

    Source: Kingma & Welling 2014 (arXiv:1312.6114).
    """

    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """The encoder's posterior."""
        assert encoder is not None
        return Inferred(encoder(x))
