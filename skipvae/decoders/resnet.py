"""A convolutional decoder: residual blocks from a small map to an image of any size."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from skipvae.decoders.base import ImageDecoder
from skipvae.likelihoods import Likelihood
from skipvae.nn.image_checks import image_size


class SkipBlock(nn.Module):
    """h + W_2 * a(n(W_1 * a(n(h)) [+ W_z z])): a residual block that z reaches, convolutions W_1 and W_2 of 3 x 3.

    a is SiLU and n group norm, so that no number depends on the batch. W_z z is the same at all positions.

    Args:
        channels: of h.
        latent_dim: size K of z, or 0 for a block without a skip.
    """

    def __init__(self, channels: int, latent_dim: int) -> None:
        super().__init__()
        groups = next(size for size in (8, 4, 2, 1) if channels % size == 0)
        self.norm1, self.norm2 = nn.GroupNorm(groups, channels), nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.latent = nn.Linear(latent_dim, channels, bias=False) if latent_dim else None
        nn.init.zeros_(self.conv2.weight)  # the identity at the start, at any depth
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """Maps h (B, channels, H, W) and z (B, K) to (B, channels, H, W)."""
        inner = self.conv1(F.silu(self.norm1(h)))
        if self.latent is not None:
            inner = inner + self.latent(z)[:, :, None, None]
        return h + self.conv2(F.silu(self.norm2(inner)))  # type: ignore[no-any-return]


class ResNetDecoder(ImageDecoder):
    """h(0) = W z + b on a small map, then residual blocks h(l) = g_l(h(l-1) [, z]), upsampled from level to level.

    The bracket is the generative skip (Dieng et al. 2019, section 3): z reaches every block and the output, each by
    weights of its own; `skip` switches it and nothing else. Each level has twice the height and width of the one
    before, rounded so that the last has those of the image.

    Args:
        latent_dim: size K of z.
        image_shape: (C, H, W), of any size.
        channels: channels of each level, from the smallest map to the image.
        num_blocks: residual blocks of each level.
        skip: whether z reaches every block and the output.
        likelihood: of the pixels, see `skipvae.likelihoods`; Bernoulli if not given.

    Raises:
        ValueError: if latent_dim is 0, there are no blocks, or more levels than the image can be halved.

    Example:
        >>> import torch
        >>> decoder = ResNetDecoder(latent_dim=2, image_shape=(3, 30, 17), channels=[8, 4], skip=True)
        >>> decoder.sample(torch.zeros(5, 2)).shape
        torch.Size([5, 3, 30, 17])
    """

    def __init__(
        self,
        latent_dim: int = 32,
        image_shape: Sequence[int] = (3, 32, 32),
        channels: Sequence[int] = (128, 64, 32),
        num_blocks: int = 1,
        skip: bool = False,
        likelihood: Likelihood | None = None,
    ) -> None:
        super().__init__(likelihood)
        if latent_dim < 1:
            raise ValueError(
                "ResNetDecoder needs latent_dim >= 1; for a model without z take an autoregressive decoder"
            )
        self.image_shape = image_channels, height, width = image_size(image_shape)
        if not channels or num_blocks < 1 or min(height, width) < 2 ** (len(channels) - 1):
            raise ValueError(
                f"channels={list(channels)} and num_blocks={num_blocks} do not fit {height} x {width} pixels: each "
                "entry of channels but the first doubles the map; give at least one entry and one block"
            )
        self.latent_dim, self.skip = latent_dim, skip
        skip_dim = latent_dim if skip else 0
        halvings = range(len(channels) - 1, -1, -1)
        self.sizes = [(-(-height // 2**n), -(-width // 2**n)) for n in halvings]  # rounded up
        self.input = nn.Linear(latent_dim, channels[0] * self.sizes[0][0] * self.sizes[0][1])
        self.levels = nn.ModuleList(
            nn.ModuleList(SkipBlock(size, skip_dim) for _ in range(num_blocks)) for size in channels
        )
        self.widenings = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(channels))
        num_parameters = self.likelihood.num_parameters(image_channels)
        self.output = nn.Conv2d(channels[-1], num_parameters, 1)
        self.latent_output = nn.Linear(latent_dim, num_parameters, bias=False) if skip else None

    def logits(self, x: Tensor | None, z: Tensor | None) -> Tensor:
        """See `ImageDecoder.logits`; they do not depend on x."""
        assert z is not None
        h = self.input(z).view(len(z), -1, *self.sizes[0])
        for i, blocks in enumerate(self.levels):
            if i:
                h = self.widenings[i - 1](F.interpolate(h, size=self.sizes[i], mode="nearest"))
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, z)
        parameters: Tensor = self.output(F.silu(h))
        if self.latent_output is not None:
            parameters = parameters + self.latent_output(z)[:, :, None, None]
        return parameters
