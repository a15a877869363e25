"""The likelihood of bytes as intensities: a mixture of logistic distributions, integrated over each byte's interval."""

import torch
import torch.nn.functional as F
from torch import Tensor

from skipvae.likelihoods.base import LEVELS, Likelihood, are_levels, describe, inside, per_channel, wide
from skipvae.likelihoods.measure import Measure

HALF_BIN = 1 / (LEVELS - 1)
"""Half the distance of two neighbouring bytes on the scale from -1 to 1."""
LOG_SCALE_START = -1.0
"""log s of a parameter of 0: a scale of a fifth of the whole range."""
LOG_SCALE_LIMIT = 9.0
"""Bound of |log s|. At -9 a byte in the middle of its interval has a probability of 1 - 3e-14 already, at 9 all but the
two bytes at the ends one of nearly 0; from 88 on, 1 / s would be infinite in float32."""


class DiscretizedLogistic(Likelihood):
    """Mixture of M logistic distributions, integrated over the interval of each byte.

    With v = 2 x - 1 and h = 1/255, the probability of a byte by one component of mean m and scale s is

        P(v) = sigmoid((v + h - m) / s) - sigmoid((v - h - m) / s),

    where the first term is 1 for the largest byte, and the second is 0 for the smallest. Without coupling each channel
    has a mixture of its own. With coupling the channels of a pixel share the component, and a channel's mean depends on
    the channels before it:

        m_G = m_1 + c_0 v_R,    m_B = m_2 + c_1 v_R + c_2 v_G,    c = tanh(parameter).

    Source: Salimans et al. (2017), *PixelCNN++*, sections 2.1 and 2.2, eq. 2 and 3.

    Args:
        num_mixtures: M.
        coupled: whether the channels of a pixel are coupled; for images of three channels.

    Raises:
        ValueError: if num_mixtures is not positive.

    Example:
        >>> likelihood = DiscretizedLogistic(num_mixtures=5, coupled=True)
        >>> likelihood.num_parameters(channels=3)
        50
        >>> likelihood.log_prob(torch.zeros(2, 50, 4, 4), torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2])
    """

    measure = Measure.BYTES

    def __init__(self, num_mixtures: int = 5, coupled: bool = False) -> None:
        super().__init__()
        if num_mixtures < 1:
            raise ValueError(f"num_mixtures={num_mixtures} must be at least 1")
        self.num_mixtures, self.coupled = num_mixtures, coupled

    def num_parameters(self, channels: int) -> int:
        """Logit, mean and log-scale of each component and channel; coupled: a logit, and per channel three numbers.

        Raises:
            ValueError: if coupled, and there are not three channels.
        """
        if self.coupled and channels != 3:
            raise ValueError(f"coupled: true is for images of three channels, not {channels}: leave it out")
        return self.num_mixtures * (1 + 3 * channels if self.coupled else 3 * channels)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """See `Likelihood.log_prob`."""
        logits, means, log_scales, coefficients = self._split(parameters)
        v = (2 * x.to(means.dtype) - 1).unsqueeze(1)  # (B, 1, C, ...)
        log_probs = _log_prob_of_bin(v, self._coupled_means(means, coefficients, v), log_scales)  # (B, M, C, ...)
        if self.coupled:
            log_probs = log_probs.sum(2, keepdim=True)
        return torch.logsumexp(logits.log_softmax(1) + log_probs, 1).flatten(1).sum(1)

    @property
    def joint(self) -> bool:
        """See `Likelihood.joint`."""
        return self.coupled

    def num_channels(self, num_parameters: int) -> int:
        """See `Likelihood.num_channels`."""
        return 3 if self.coupled else super().num_channels(num_parameters)

    def num_uniforms(self, channels: int) -> int:
        """One for the component, one for the value: of each channel, or, coupled, of the pixel and of each channel."""
        return channels + (1 if self.coupled else channels)

    def draw(self, parameters: Tensor, uniform: Tensor) -> Tensor:
        """See `Likelihood.draw`; channel by channel if these are coupled."""
        logits, means, log_scales, coefficients = self._split(parameters)
        channels = means.shape[2]
        of_component, of_value = uniform[:, :-channels], inside(uniform[:, -channels:])
        cumulative = logits.softmax(1).cumsum(1)
        component = (cumulative <= of_component.unsqueeze(1)).sum(1, keepdim=True).clamp(max=self.num_mixtures - 1)
        component = component.expand(-1, 1, *means.shape[2:])  # (B, 1, C, ...)
        means, log_scales, coefficients = (part.gather(1, component) for part in (means, log_scales, coefficients))
        noise = log_scales.exp() * of_value.logit().unsqueeze(1)
        v = torch.zeros_like(means)
        for channel in range(channels):  # without coupling the values of other channels do not matter
            mean = self._coupled_means(means, coefficients, v)[:, :, channel]
            v[:, :, channel] = 2 * _rounded(mean + noise[:, :, channel]) - 1
        return _rounded(v).squeeze(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The mean of x, (B, C, ...), to within half a byte; if coupled, given the mean of the channels before.

        It is that of the logistic distribution with everything below -1 at -1 and above 1 at 1, which is
        -1 + the integral of P(value > t) for t from -1 to 1.
        """
        logits, means, log_scales, coefficients = self._split(parameters)
        scales = log_scales.exp()
        v = torch.zeros_like(means)
        for channel in range(means.shape[2]):
            m, s = self._coupled_means(means, coefficients, v)[:, :, channel], scales[:, :, channel]
            v[:, :, channel] = s * (F.softplus((m + 1) / s) - F.softplus((m - 1) / s)) - 1
        return ((logits.softmax(1) * v).sum(1) + 1) / 2

    def check(self, x: Tensor) -> Measure:
        """See `Likelihood.check`."""
        if not are_levels(x):
            raise ValueError(
                f"a discretized logistic likelihood is one of bytes, as floats k / 255, but x is {describe(x)}: leave "
                "bytes as they are, or use skipvae.likelihoods.Gaussian"
            )
        return self.measure

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (B, M, 1 or C, ...), means, log-scales and coefficients (B, M, C, ...) of all components."""
        each = per_channel(wide(parameters), self.num_mixtures)  # (B, M, parameters of a component, ...)
        if self.coupled:
            logits, means, log_scales, coefficients = torch.split(each, [1, 3, 3, 3], 2)
            coefficients = coefficients.tanh()
        else:
            logits, means, log_scales = each.chunk(3, 2)
            coefficients = means  # of the same shape; not used
        log_scales = (log_scales + LOG_SCALE_START).clamp(-LOG_SCALE_LIMIT, LOG_SCALE_LIMIT)
        return logits, means, log_scales, coefficients

    def _coupled_means(self, means: Tensor, coefficients: Tensor, v: Tensor) -> Tensor:
        """The means (B, M, C, ...), given the values of the channels before in v (B, 1 or M, C, ...)."""
        if not self.coupled:
            return means
        (m0, m1, m2), (c0, c1, c2), (red, green, _) = (part.unbind(2) for part in (means, coefficients, v))
        return torch.stack([m0, m1 + c0 * red, m2 + c1 * red + c2 * green], 2)


def _log_prob_of_bin(v: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log P(v) of one logistic component, for v in {-1, ..., 1}; exact at any distance and scale.

    With a the upper and b the lower edge in units of the scale,
    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), in which no two equal numbers are subtracted.
    """
    inverse = (-log_scale).exp()
    upper, lower = inverse * (v - mean + HALF_BIN), inverse * (v - mean - HALF_BIN)
    below, above = F.logsigmoid(upper), F.logsigmoid(-lower)
    between = below + above + torch.log(-torch.expm1(-2 * HALF_BIN * inverse))
    return torch.where(v < -1 + HALF_BIN, below, torch.where(v > 1 - HALF_BIN, above, between))


def _rounded(v: Tensor) -> Tensor:
    """x in {0, 1/255, ..., 1}, the byte nearest to v in [-1, 1]."""
    return ((v + 1) / 2 * (LEVELS - 1)).round().clamp(0, LEVELS - 1) / (LEVELS - 1)
