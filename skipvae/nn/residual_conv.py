"""The residual block of a PixelCNN without gates."""

import torch.nn.functional as F
from torch import Tensor, nn

from skipvae.nn.gated_conv import with_maps
from skipvae.nn.masked_conv import MaskedConv2d


class Bottleneck(nn.Module):
    """ELU(f([x, maps]) + x), f: 1 x 1 to half the channels, masked k x k, 1 x 1 back, each with batch norm.

    Args:
        channels: of x and of the result.
        kernel_size: k, odd.
        num_maps: number of latent maps that are concatenated to x; 0 for none.

    Source: He et al. 2019 (arXiv:1901.05534), their published code.
    """

    def __init__(self, channels: int, kernel_size: int, num_maps: int = 0) -> None:
        super().__init__()
        half = channels // 2
        self.reduce, self.norm1 = nn.Conv2d(channels + num_maps, half, 1, bias=False), nn.BatchNorm2d(half)
        self.masked, self.norm2 = MaskedConv2d(half, half, kernel_size), nn.BatchNorm2d(half)
        self.expand, self.norm3 = nn.Conv2d(half, channels, 1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, maps: Tensor | None = None) -> Tensor:
        """Maps (B, channels, H, W) and maps (B, num_maps, H, W) to (B, channels, H, W)."""
        h = F.elu(self.norm1(self.reduce(with_maps(x, maps))))
        h = F.elu(self.norm2(self.masked(h)))
        return F.elu(self.norm3(self.expand(h)) + x)
