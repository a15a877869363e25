"""Convolutions that see only what comes earlier in the order of pixels: row by row, left to right, then by channel.

A pixel is generated given all pixels above it and those to its left in its own row (van den Oord et al. 2016,
arXiv:1606.05328, section 2.2). Two convolutions share the work, and together they have no blind spot:
`VerticalConv2d` sees the rows above, `HorizontalConv2d` the row itself. Both are ordinary convolutions of a padded
image, so nothing is multiplied by a mask; only the channels of one pixel, if there are several, need one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VerticalConv2d(nn.Conv2d):
    """Sees rows i - k // 2 .. i, and in each the k columns around j, when it computes pixel (i, j).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the result.
        kernel_size: k, odd.
        strict: whether it must not see row i: the rows it sees all move up by one. The first convolution of a decoder
            is strict, so that the features of row i know the rows above (mask A; the others are mask B).
        blank: whether the result is zero in row 0, of which a strict convolution sees nothing, instead of the bias.

    Example:
        >>> convolution = VerticalConv2d(1, 1, kernel_size=3, strict=True)
        >>> image = torch.zeros(1, 1, 4, 4, requires_grad=True)
        >>> convolution(image)[0, 0, 2, 1].backward()
        >>> image.grad[0, 0].ne(0).int()
        tensor([[1, 1, 1, 0],
                [1, 1, 1, 0],
                [0, 0, 0, 0],
                [0, 0, 0, 0]], dtype=torch.int32)
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, strict: bool = False, blank: bool = False
    ) -> None:
        reach = kernel_size // 2
        super().__init__(in_channels, out_channels, (reach + 1, kernel_size))
        self.padding_sides, self.padding_top, self.shift = reach, reach + strict, int(strict)
        self.blank = blank and strict

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H, W)."""
        y = super().forward(F.pad(x, (self.padding_sides, self.padding_sides, self.padding_top, -self.shift)))
        return F.pad(y[:, :, 1:], (0, 0, 1, 0)) if self.blank else y


class HorizontalConv2d(nn.Conv2d):
    """Sees columns j - `reach` .. j of row i when it computes pixel (i, j), and of column j only the earlier channels.

    Every channel of the input and of the result has a rank: the channel of the image that it stands for. A channel
    sees those of a lower rank at its own pixel, and those of its own rank unless the convolution is strict. Where that
    leaves nothing to be seen at the own pixel, as in a strict convolution of a grey image, the kernel stops before it.

    Args:
        in_ranks: the rank of each channel of the input, (in_channels,) int64.
        out_ranks: the rank of each channel of the result, (out_channels,) int64.
        reach: how far to the left it sees; 0 makes it a masked 1 x 1 convolution.
        strict: whether a channel must not see its own rank at its own pixel (mask A; without it, mask B).
        blank: whether the result is zero in column 0, of which a kernel that stops before the pixel sees nothing,
            instead of the bias.

    Example:
        >>> grey = torch.tensor([0])
        >>> convolution = HorizontalConv2d(grey, grey, reach=2, strict=True)
        >>> row = torch.zeros(1, 1, 1, 5, requires_grad=True)
        >>> convolution(row)[0, 0, 0, 3].backward()
        >>> row.grad.flatten().ne(0).int()
        tensor([0, 1, 1, 0, 0], dtype=torch.int32)
    """

    mask: Tensor | None

    def __init__(
        self, in_ranks: Tensor, out_ranks: Tensor, reach: int = 0, strict: bool = False, blank: bool = False
    ) -> None:
        visible = in_ranks < out_ranks[:, None] if strict else in_ranks <= out_ranks[:, None]  # (out, in)
        self.shift = 0 if visible.any() else 1
        super().__init__(len(in_ranks), len(out_ranks), (1, reach + 1 - self.shift))
        self.padding_left = reach
        self.blank = blank and self.shift == 1
        mask = None
        if not self.shift and not visible.all():
            mask = torch.ones_like(self.weight)
            mask[..., -1] = visible[..., None]
        self.register_buffer("mask", mask, persistent=False)

    @property
    def masked_weight(self) -> Tensor:
        """The weights that count, (out_channels, in_channels, 1, columns)."""
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H, W)."""
        if self.padding_left:
            x = F.pad(x, (self.padding_left, -self.shift))
        y = F.conv2d(x, self.masked_weight, self.bias)
        return F.pad(y[..., 1:], (1, 0)) if self.blank else y


def channel_ranks(channels: int, image_channels: int) -> Tensor:
    """Shares `channels` features out among the channels of the image, evenly and in order: (channels,) int64."""
    return torch.arange(channels) * image_channels // channels
