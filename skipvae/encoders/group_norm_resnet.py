"""A convolutional encoder of any size and depth: a ResNet in which no number depends on the batch."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from skipvae.encoders.base import Encoder
from skipvae.nn.image_checks import check_image_shape, image_size
from skipvae.nn.residual_block import GroupNormBlock, map_sizes
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class GroupNormResNetEncoder(Encoder):
    """Residual blocks at each level, 3 x 3 convolutions of stride 2 in between, then linear to mean and log-variance.

    The mirror image of `ResNetDecoder`: each level has half the height and width of the one before, rounded up. Unlike
    the authors' `ResNetEncoder`, it has group norm, the same in training and evaluation, and any number of blocks.

    With the channels 16, 32, 64 it suits images of 28 to 32 pixels, with 16, 32, 64, 128 those of 64 pixels.

    Args:
        latent_dim: size K of z.
        image_shape: (C, H, W), of any size.
        channels: channels of each level, from the image to the smallest map.
        num_blocks: residual blocks of each level.

    Raises:
        ValueError: if there are no blocks, or more levels than the image can be halved.

    Example:
        >>> import torch
        >>> encoder = GroupNormResNetEncoder(latent_dim=2, image_shape=(3, 30, 17), channels=[4, 8])
        >>> encoder(torch.zeros(5, 3, 30, 17)).mean.shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        latent_dim: int = 32,
        image_shape: Sequence[int] = (3, 32, 32),
        channels: Sequence[int] = (32, 64, 128),
        num_blocks: int = 1,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.image_shape = image_channels, height, width = image_size(image_shape)
        rows, columns = map_sizes(height, width, channels, num_blocks)[-1]
        self.input = nn.Conv2d(image_channels, channels[0], 3, padding=1)
        layers: list[nn.Module] = [GroupNormBlock(channels[0]) for _ in range(num_blocks)]
        for before, after in pairwise(channels):
            layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
            layers += [GroupNormBlock(after) for _ in range(num_blocks)]
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(channels[-1] * rows * columns, 2 * latent_dim)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x), parameters (B, K), for x (B, C, H, W)."""
        check_image_shape(x, self.image_shape)
        h = self.layers(self.input(x))
        return DiagonalGaussian.from_parameters(self.output(F.silu(h).flatten(1)))
