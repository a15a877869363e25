"""Inference by gradient ascent alone, without an encoder."""

import torch
from torch import Tensor

from skipvae.decoders.base import Decoder
from skipvae.encoders.base import Encoder
from skipvae.inference.amortized import Inferred
from skipvae.inference.gradient_ascent import GradientAscent
from skipvae.inference.likelihood_gradient import LogLikelihood
from skipvae.nn.inference_mode import outside_inference_mode, without_inference_flag
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class SVI(GradientAscent):
    """Stochastic variational inference: every example starts at the prior, there is no encoder.

    Its arguments are those of `GradientAscent`.

    Source: Hoffman, Blei, Wang & Paisley 2013 (arXiv:1206.7051).

    Example:
        >>> from skipvae import VAE
        >>> from skipvae.decoders import MLPDecoder
        >>> VAE(None, MLPDecoder(2, hidden_dim=8), SVI(num_steps=3)).infer(torch.zeros(5, 1, 28, 28)).mean.shape
        torch.Size([5, 2])
    """

    uses_encoder = False

    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """The posterior after the steps from N(0, I); a constant, so that only the decoder is trained."""
        with outside_inference_mode(), torch.no_grad():
            x = without_inference_flag(x)
            zero = next(decoder.parameters()).new_zeros(len(x), decoder.latent_dim)
            return self.refine(DiagonalGaussian(zero, zero), LogLikelihood(decoder, x), beta, "none")[0]
