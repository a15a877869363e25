"""The layers of a PixelCNN without gates: masked convolutions in residual blocks with batch norm."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skipvae.nn.gated_conv import with_maps


class MaskedConv2d(nn.Conv2d):
    """A k x k convolution without bias that sees the rows above and, in its own row, the pixels to the left.

    Args:
        in_channels: channels of the input that are masked.
        out_channels: channels of the result.
        kernel_size: k, odd.
        num_maps: further channels of the input that are not masked.
        strict: whether it must not see its own pixel (mask A; without it, mask B).

    Example:
        >>> MaskedConv2d(1, 1, kernel_size=3, num_maps=0, strict=True).mask[0]
        tensor([[1., 1., 1.],
                [1., 0., 0.],
                [0., 0., 0.]])
    """

    mask: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, num_maps: int = 0, strict: bool = False
    ) -> None:
        super().__init__(in_channels + num_maps, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        mask, middle = torch.ones(in_channels + num_maps, kernel_size, kernel_size), kernel_size // 2
        mask[:in_channels, middle, middle + (not strict) :] = 0
        mask[:in_channels, middle + 1 :] = 0
        self.register_buffer("mask", mask, persistent=False)

    @property
    def masked_weight(self) -> Tensor:
        """The weights that count, (out_channels, in_channels + num_maps, k, k)."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels + num_maps, H, W) to (B, out_channels, H, W)."""
        return F.conv2d(x, self.masked_weight, padding=self.padding)


class Bottleneck(nn.Module):
    """ELU(f(x [, maps]) + x), f: 1 x 1 to half the channels, masked k x k, 1 x 1 back, each with batch norm.

    Args:
        channels: of x and of the result.
        kernel_size: k, odd.
        num_maps: latent maps that the first convolution sees besides x.
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
