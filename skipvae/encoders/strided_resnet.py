"""The image encoder of He et al. (2019): a ResNet of strided blocks."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from skipvae.encoders.base import Encoder
from skipvae.nn.image_checks import check_image_shape, image_size
from skipvae.nn.initialization import he_normal_fan_out, xavier_uniform
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class StridedBlock(nn.Module):
    """ELU(shortcut(x) + f(x)), f two 3 x 3 convolutions with batch norm, the first of stride 2.

    Args:
        in_channels: channels of x.
        out_channels: channels of the result.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.convolution2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False)
        self.shortcut_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, (H + 1) // 2, (W + 1) // 2)."""
        h = F.elu(self.norm1(self.convolution1(x)))
        return F.elu(self.norm2(self.convolution2(h)) + self.shortcut_norm(self.shortcut(x)))


class StridedResNetEncoder(Encoder):
    """Residual blocks of stride 2, a convolution over the whole remaining image, then linear to mean and log-variance.

    The published network has three blocks of 64 channels, 28 -> 14 -> 7 -> 4, 512 features and 752,448 parameters.

    Args:
        latent_dim: size K of z.
        image_shape: (C, H, W).
        channels: channels of each block.
        num_features: channels of the last convolution.

    Raises:
        ValueError: if there are no blocks.

    Source: He, Spokoyny, Neubig & Berg-Kirkpatrick 2019 (arXiv:1901.05534), and their published code.

    Example:
        >>> import torch
        >>> StridedResNetEncoder(latent_dim=2, channels=[4, 4], num_features=8)(torch.zeros(3, 1, 28, 28)).mean.shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        latent_dim: int = 32,
        image_shape: Sequence[int] = (1, 28, 28),
        channels: Sequence[int] = (64, 64, 64),
        num_features: int = 512,
    ) -> None:
        super().__init__()
        if not channels:
            raise ValueError("channels is empty: give the channels of each block, at least one")
        self.latent_dim, self.image_shape = latent_dim, image_size(image_shape)
        image_channels, height, width = self.image_shape
        self.blocks = nn.Sequential(*(StridedBlock(*pair) for pair in pairwise([image_channels, *channels])))
        for _ in channels:
            height, width = (height + 1) // 2, (width + 1) // 2
        self.head = nn.Conv2d(channels[-1], num_features, (height, width), bias=False)
        self.head_norm = nn.BatchNorm2d(num_features)
        self.output = nn.Linear(num_features, 2 * latent_dim)
        he_normal_fan_out(self)
        xavier_uniform(self)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x), parameters (B, K), for x (B, C, H, W)."""
        check_image_shape(x, self.image_shape)
        features = F.elu(self.head_norm(self.head(self.blocks(x)))).flatten(1)
        return DiagonalGaussian.from_parameters(self.output(features))
