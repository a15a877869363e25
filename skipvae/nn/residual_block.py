"""The residual block of `ResNetDecoder` and `GroupNormResNetEncoder`, and the sizes of their maps."""

from collections.abc import Sequence
from math import gcd

import torch.nn.functional as F
from torch import Tensor, nn


class GroupNormBlock(nn.Module):
    """h + W_2 * a(n(W_1 * a(n(h))) [+ s]): a residual block with group norm, convolutions W_1 and W_2 of 3 x 3.

    a is SiLU and n group norm, so that no number depends on the batch. W_2 starts at zero: the block is the identity
    at the start, at any depth. s, the same at all positions, is a skip's W_z z; it is added after the norm, which
    would take a part of it away.

    Args:
        channels: of h.

    Source: He, Zhang, Ren & Sun 2016 (arXiv:1603.05027); Wu & He 2018 (arXiv:1803.08494).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Groups of at least four channels: alone in its group, a channel would lose its mean and scale.
        groups = gcd(channels // 4, 8) if channels % 4 == 0 else 1
        self.norm1, self.norm2 = nn.GroupNorm(groups, channels), nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor, s: Tensor | None = None) -> Tensor:
        """Maps h (B, channels, H, W) and s (B, channels) to (B, channels, H, W)."""
        inner = self.norm2(self.conv1(F.silu(self.norm1(h))))
        if s is not None:
            inner = inner + s[:, :, None, None]
        return h + self.conv2(F.silu(inner))  # type: ignore[no-any-return]


def map_sizes(height: int, width: int, channels: Sequence[int], num_blocks: int) -> list[tuple[int, int]]:
    """Height and width of the map of each level, from that of the image on, halved from level to level, rounded up.

    Args:
        height: of the image.
        width: of the image.
        channels: of each level.
        num_blocks: residual blocks of each level.

    Raises:
        ValueError: if there are no blocks, or more levels than the image can be halved.

    Example:
        >>> map_sizes(30, 17, channels=[8, 8, 8], num_blocks=1)
        [(30, 17), (15, 9), (8, 5)]
    """
    if not channels or min(channels) < 1 or num_blocks < 1 or min(height, width) < 2 ** (len(channels) - 1):
        raise ValueError(
            f"channels={list(channels)} and num_blocks={num_blocks} do not fit {height} x {width} pixels: each entry "
            "of channels is a level, with half the height and width of the one before; give at least one entry and "
            "one block"
        )
    return [(-(-height // 2**n), -(-width // 2**n)) for n in range(len(channels))]
