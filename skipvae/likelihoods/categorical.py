"""The likelihood of bytes that knows nothing of their order: a probability for each of the 256 values."""

import torch
import torch.nn.functional as F
from torch import Tensor

from skipvae.likelihoods.base import LEVELS, Likelihood, are_levels, describe, levels, per_channel, wide
from skipvae.likelihoods.measure import Measure


class Categorical(Likelihood):
    """log p(x) = sum of log softmax(parameters)[255 x], for x in {0, 1/255, ..., 1}.

    Source: van den Oord, Kalchbrenner & Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*, section 3.

    Example:
        >>> likelihood = Categorical()
        >>> parameters = torch.zeros(1, likelihood.num_parameters(channels=3), 2, 2)
        >>> likelihood.log_prob(parameters, torch.ones(1, 3, 2, 2)) / (3 * 2 * 2)  # -log 256
        tensor([-5.5452])
    """

    measure = Measure.BYTES

    def num_parameters(self, channels: int) -> int:
        """256 logits for each channel."""
        return LEVELS * channels

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """See `Likelihood.log_prob`."""
        logits = per_channel(wide(parameters), LEVELS)
        return -F.cross_entropy(logits, levels(x), reduction="none").flatten(1).sum(1)

    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """See `Likelihood.draw`; k / 255, where k is the number of cumulative probabilities up to the noise."""
        cumulative = per_channel(wide(parameters), LEVELS).softmax(1).cumsum(1)
        k = (cumulative <= uniform.unsqueeze(1)).sum(1).clamp(max=LEVELS - 1)  # rounding may leave the last below 1
        return k.to(uniform.dtype) / (LEVELS - 1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The mean of x, (B, C, ...)."""
        logits = per_channel(wide(parameters), LEVELS)
        values = torch.linspace(0, 1, LEVELS, device=logits.device, dtype=logits.dtype)
        return (logits.softmax(1).movedim(1, -1) * values).sum(-1)

    def check(self, x: Tensor) -> Measure:
        """See `Likelihood.check`."""
        if not are_levels(x):
            raise ValueError(
                f"a categorical likelihood is one of bytes, as floats k / 255, but x is {describe(x)}: leave bytes as "
                "they are, or use skipvae.likelihoods.Gaussian"
            )
        return self.measure
