"""Inference by gradient ascent alone, without an encoder."""

import torch
from torch import Tensor

from skipvae.decoders.base import Decoder
from skipvae.encoders.base import Encoder
from skipvae.inference.amortized import Inferred
from skipvae.inference.gradient_ascent import GradientAscent, RuleName
from skipvae.inference.likelihood_gradient import LogLikelihood
from skipvae.nn.inference_mode import outside_inference_mode, without_inference_flag
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class SVI(GradientAscent):
    """Stochastic variational inference: every example starts at the prior, there is no encoder.

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

    Source: Hoffman et al. 2013 (arXiv:1206.7051).
    """

    uses_encoder = False

    def __init__(
        self,
        num_steps: int = 20,
        learning_rate: float = 1.0,
        momentum: float = 0.5,
        max_grad_norm: float = 5.0,
        rule: RuleName = "natural",
        anneal_validation: bool = False,
    ) -> None:
        super().__init__(num_steps, learning_rate, momentum, max_grad_norm, rule, anneal_validation)

    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """The posterior after the steps from N(0, I); a constant, so that only the decoder is trained."""
        with outside_inference_mode(), torch.no_grad():
            x = without_inference_flag(x)
            zero = next(decoder.parameters()).new_zeros(len(x), decoder.latent_dim)
            return self.refine(DiagonalGaussian(zero, zero), LogLikelihood(decoder, x), beta, "none")[0]
