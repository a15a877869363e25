"""A convolutional decoder: residual blocks from a small map to an image of any size."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from skipvae.decoders.base import ImageDecoder
from skipvae.likelihoods import Likelihood
from skipvae.nn.image_checks import image_size
from skipvae.nn.residual_block import GroupNormBlock, map_sizes


class ResNetDecoder(ImageDecoder):
    """h(0) = W z + b on a small map, then residual blocks h(l) = g_l(h(l-1) [, z]), upsampled from level to level.

    The bracket is the generative skip (Dieng et al. 2019, section 3): z reaches every block (`GroupNormBlock`) and the
    output, each by weights of its own; `skip` switches it and nothing else. Each level has twice the height and
    width of the one before, rounded so that the last has those of the image.

    With the channels 64, 32, 16 it suits images of 28 to 32 pixels, with 128, 64, 32, 16 those of 64 pixels; its mirror
    image as an encoder is `GroupNormResNetEncoder`.

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
        self.latent_dim, self.skip = latent_dim, skip
        self.image_shape = image_channels, height, width = image_size(image_shape)
        self.sizes = map_sizes(height, width, channels, num_blocks)[::-1]
        self.input = nn.Linear(latent_dim, channels[0] * self.sizes[0][0] * self.sizes[0][1])
        self.levels = nn.ModuleList(nn.ModuleList(GroupNormBlock(size) for _ in range(num_blocks)) for size in channels)
        self.narrowings = nn.ModuleList(nn.Conv2d(before, after, 1) for before, after in pairwise(channels))
        num_parameters = self.likelihood.num_parameters(image_channels)
        self.output = nn.Conv2d(channels[-1], num_parameters, 1)
        # Made last, so that by the same seed all other weights start the same with and without it.
        self.skip_sizes = [size for size in channels for _ in range(num_blocks)] + [num_parameters]
        self.latent = nn.Linear(latent_dim, sum(self.skip_sizes), bias=False) if skip else None

    def logits(self, x: Tensor | None, z: Tensor | None) -> Tensor:
        """See `ImageDecoder.logits`; they do not depend on x."""
        assert z is not None
        skips = iter(() if self.latent is None else self.latent(z).split(self.skip_sizes, 1))
        h = self.input(z).view(z.shape[0], -1, *self.sizes[0])
        for i, blocks in enumerate(self.levels):
            if i:  # narrowed first: a 1 x 1 convolution of the smaller map is a quarter of the work
                h = F.interpolate(self.narrowings[i - 1](h), size=self.sizes[i], mode="nearest")
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, next(skips, None))
        parameters: Tensor = self.output(F.silu(h))
        return parameters if self.latent is None else parameters + next(skips)[:, :, None, None]
