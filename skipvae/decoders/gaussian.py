"""The fully connected decoder for real values: a Gaussian likelihood instead of the Bernoulli one."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skipvae.decoders.mlp import MLPDecoder
from skipvae.likelihoods import Measure
from skipvae.nn.image_checks import check_image_shape, image_size
from skipvae.posteriors.diagonal_gaussian import LOG_2PI


class GaussianMLPDecoder(MLPDecoder):
    """x ~ N(mean(z), scale^2 I), where mean(z) is the output of the layers of `MLPDecoder`, with or without skips.

    Args:
        latent_dim: size K of z.
        image_shape: (C, H, W); x is any real tensor of that shape.
        hidden_dim: units in each hidden layer.
        num_layers: number of hidden layers after the first linear map.
        skip: whether z reaches every layer.
        scale: the standard deviation of every value given z.
        learn_scale: whether the scale is learnt, with this value at the start.

    Raises:
        ValueError: if latent_dim is 0, or the scale is not above 0.

    Example:
        >>> decoder = GaussianMLPDecoder(latent_dim=2, image_shape=(1, 2, 3), hidden_dim=8)
        >>> decoder.log_prob(torch.randn(4, 1, 2, 3), torch.zeros(4, 2)).shape
        torch.Size([4])
    """

    def __init__(
        self,
        latent_dim: int = 20,
        image_shape: Sequence[int] = (1, 28, 28),
        hidden_dim: int = 1024,
        num_layers: int = 2,
        skip: bool = False,
        scale: float = 1.0,
        learn_scale: bool = True,
    ) -> None:
        super().__init__(latent_dim, image_size(image_shape), hidden_dim, num_layers, skip)
        if scale <= 0:
            raise ValueError(f"scale={scale} must be above 0: it is a standard deviation")
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learn_scale)

    def check(self, x: Tensor) -> Measure:
        """Accepts any real x."""
        return Measure.DENSITY

    def log_prob(self, x: Tensor, z: Tensor | None) -> Tensor:
        """log p(x|z) = -1/2 |(x - mean) / scale|^2 - D (log scale + 1/2 log 2 pi) in nats, (B,), D = C H W.

        Args:
            x: (B, C, H, W).
            z: (B, K).

        Returns:
            (B,); a log-density, so it may be above 0.
        """
        check_image_shape(x, self.image_shape)
        assert z is not None
        error = ((x - self.mean(z)) * (-self.log_scale).exp()).flatten(1)
        return -0.5 * error.square().sum(1) - error.shape[1] * (self.log_scale + 0.5 * LOG_2PI)

    def mean(self, z: Tensor | None) -> Tensor:
        """The mean of p(x|z), (B, C, H, W)."""
        mean = self.logits(None, z)
        return mean.float() if mean.dtype in (torch.bfloat16, torch.float16) else mean  # before sums over x

    def sample(self, z: Tensor | None, *, generator: torch.Generator | None = None, **options: object) -> Tensor:
        """x ~ p(x|z), (B, C, H, W)."""
        assert z is not None
        mean = self.mean(z)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return mean + self.log_scale.exp() * noise
