"""Inference by an encoder and gradient ascent from its posterior, and the ways to train that encoder."""

from typing import Literal

import torch
from torch import Tensor

from skipvae.decoders.base import Decoder
from skipvae.encoders.base import Encoder
from skipvae.inference.amortized import Inferred
from skipvae.inference.gradient_ascent import GradientAscent, RuleName
from skipvae.inference.likelihood_gradient import LogLikelihood, SecondDerivative
from skipvae.nn.choices import check_choice
from skipvae.nn.inference_mode import outside_inference_mode, without_inference_flag
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian, divergence


class SemiAmortized(GradientAscent):
    """Semi-amortised inference: the encoder's posterior, improved by steps of gradient ascent.

    Args:
        num_steps: steps of gradient ascent.
        learning_rate: of the steps.
        momentum: of the steps.
        max_grad_norm: the norm at which gradients are clipped, in the way of the rule.
        gradient: how the loss reaches the encoder, and the decoder a second time, through the steps: "exact" by
            differentiating them; "finite_difference" by differences of gradients, for decoders without second
            derivative and for memory that does not grow with num_steps; "none" not at all; "auto" takes "exact"
            except for recurrent decoders, where differences are faster and the only way that works with cuDNN.
        encoder_loss: the loss of the encoder with gradient="none": its own "elbo" (VAE+SVI); "kl", the divergence
            KL(encoder || refined) of its posterior from the refined one (VAE+SVI+KL, as in the published code); or
            "reversed_kl", KL(refined || encoder).
        rule: "natural", ours, or "published"; see `skipvae.inference.rules`. The published backward pass through the
            steps is not that of its own steps where clipping acts; ours is the exact one for both rules.
        anneal_validation: whether validations during training use the annealed weight of the KL in the steps, as the
            published code does.

    Raises:
        ValueError: if a setting is out of range; in `check` and in use, if gradient="exact" and the decoder has no
            second derivative on its device.

    Source: Kim, Wiseman, Miller, Sontag & Rush 2018 (arXiv:1802.02550), algorithm 1.

    Example:
        >>> from skipvae import VAE
        >>> from skipvae.decoders import MLPDecoder
        >>> from skipvae.encoders import MLPEncoder
        >>> model = VAE(MLPEncoder(2, hidden_dim=8), MLPDecoder(2, hidden_dim=8), SemiAmortized(num_steps=3))
        >>> model.infer(torch.zeros(5, 1, 28, 28)).mean.shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        num_steps: int = 20,
        learning_rate: float = 1.0,
        momentum: float = 0.5,
        max_grad_norm: float = 5.0,
        gradient: Literal["auto", "exact", "finite_difference", "none"] = "auto",
        encoder_loss: Literal["elbo", "kl", "reversed_kl"] = "elbo",
        rule: RuleName = "natural",
        anneal_validation: bool = False,
    ) -> None:
        super().__init__(num_steps, learning_rate, momentum, max_grad_norm, rule, anneal_validation)
        self.gradient = check_choice("gradient", gradient, ("auto", "exact", "finite_difference", "none"))
        self.encoder_loss = check_choice("encoder_loss", encoder_loss, ("elbo", "kl", "reversed_kl"))

    def check(self, decoder: Decoder, device: torch.device) -> str | None:
        """See `Inference.check`."""
        chosen = self._second_derivative(decoder, device)
        return f"semi-amortised inference: gradient=auto is {chosen} here" if self.gradient == "auto" else None

    def forward(self, encoder: Encoder | None, decoder: Decoder, x: Tensor, beta: float = 1.0) -> Inferred:
        """The posterior after the steps from the encoder's; beta is the weight of the KL in what they maximise."""
        assert encoder is not None
        start: DiagonalGaussian = encoder(x)
        is_training = torch.is_grad_enabled()
        second_derivative = self._second_derivative(decoder, x.device) if is_training else "none"
        with outside_inference_mode(), torch.set_grad_enabled(second_derivative != "none"):
            begin = DiagonalGaussian(without_inference_flag(start.mean), without_inference_flag(start.logvar))
            log_likelihood = LogLikelihood(decoder, without_inference_flag(x))
            inferred, gradient = self.refine(begin, log_likelihood, beta, second_derivative)
        if is_training and second_derivative == "none":
            inferred = inferred._replace(encoder_loss=self._encoder_loss(start, inferred.posterior, gradient).mean())
        return inferred

    def _encoder_loss(self, start: DiagonalGaussian, refined: DiagonalGaussian, gradient: Tensor) -> Tensor:
        """The loss of the encoder's posterior, (B,), given the gradient of its bound w.r.t. lambda, (B, 2K)."""
        if self.encoder_loss == "kl":
            return divergence(start, refined)
        if self.encoder_loss == "reversed_kl":
            return divergence(refined, start)
        # Not the bound, but a linear function of lambda with the same gradient: the bound itself is not computed again.
        return -(torch.cat([start.mean, start.logvar], -1) * gradient).sum(-1)

    def _second_derivative(self, decoder: Decoder, device: torch.device) -> SecondDerivative:
        if self.gradient in ("finite_difference", "none"):
            return self.gradient
        possible = decoder.twice_differentiable(device)
        if self.gradient == "auto":
            return "exact" if possible and not decoder.recurrent else "finite_difference"
        if possible:
            return "exact"
        raise ValueError(
            "cuDNN's recurrent networks have no second derivative: set the inference's gradient to finite_difference, "
            "or torch.backends.cudnn.enabled to False"
        )
