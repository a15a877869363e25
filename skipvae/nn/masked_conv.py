"""Convolutions that see only what comes earlier in the order of pixels: row by row, left to right, then by channel.

A pixel is generated given all pixels above it and those to its left in its own row (van den Oord et al. 2016,
arXiv:1606.05328, section 2.2). A convolution with mask A does not see the pixel itself; the first layer has it, whose
input is the image. One with mask B does; later layers have it, whose inputs are features of earlier pixels.

`MaskedConv2d` multiplies a k x k kernel by such a mask; layers of it have a blind spot above to the right.
`VerticalConv2d`, which sees the rows above, and `HorizontalConv2d`, which sees the row itself, have none together.
Those two are ordinary convolutions of a padded image: their kernels end where the mask would begin, and only the
channels of one pixel, if there are several, need a mask.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MaskType = Literal["A", "B"]


class VerticalConv2d(nn.Conv2d):
    """A convolution of rows: with mask B pixel (i, j) sees rows i - k // 2 .. i, in each the k columns around j.

    With mask A it does not see row i: the rows that it sees are all one further up. The first convolution of a decoder
    has mask A, so that the features of row i depend on the rows above alone.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the result.
        kernel_size: k, odd.
        mask_type: "A" or "B".
        zero_first_row: whether the result is zero in row 0, where mask A leaves nothing to see, instead of the bias.

    Example:
        >>> convolution = VerticalConv2d(1, 1, kernel_size=3, mask_type="A")
        >>> image = torch.zeros(1, 1, 4, 4, requires_grad=True)
        >>> convolution(image)[0, 0, 2, 1].backward()
        >>> image.grad[0, 0].ne(0).int()
        tensor([[1, 1, 1, 0],
                [1, 1, 1, 0],
                [0, 0, 0, 0],
                [0, 0, 0, 0]], dtype=torch.int32)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        mask_type: MaskType = "B",
        zero_first_row: bool = False,
    ) -> None:
        reach = kernel_size // 2
        super().__init__(in_channels, out_channels, (reach + 1, kernel_size))
        self.shift = 1 if mask_type == "A" else 0  # rows
        self.padding_sides, self.padding_top = reach, reach + self.shift
        self.zero_first_row = zero_first_row and mask_type == "A"

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H, W)."""
        y = super().forward(F.pad(x, (self.padding_sides, self.padding_sides, self.padding_top, -self.shift)))
        return F.pad(y[:, :, 1:], (0, 0, 1, 0)) if self.zero_first_row else y


class HorizontalConv2d(nn.Conv2d):
    """A convolution along a row: pixel (i, j) sees columns j - reach .. j of row i, of column j the earlier channels.

    Every channel of the input and of the result has a rank: the channel of the image that it belongs to. At its own
    pixel a channel sees those of lower ranks, and with mask B those of its own rank as well. Where this leaves nothing
    to see there, as with mask A of a grey image, the kernel ends one column before it.

    Args:
        in_ranks: the rank of each channel of the input, (in_channels,) int64.
        out_ranks: the rank of each channel of the result, (out_channels,) int64.
        reach: number of columns to the left that it sees; 0 makes it a masked 1 x 1 convolution.
        mask_type: "A" or "B".
        zero_first_column: whether the result is zero in column 0, where a kernel that ends before it has nothing to
            see, instead of the bias.

    Example:
        >>> grey = torch.tensor([0])
        >>> convolution = HorizontalConv2d(grey, grey, reach=2, mask_type="A")
        >>> row = torch.zeros(1, 1, 1, 5, requires_grad=True)
        >>> convolution(row)[0, 0, 0, 3].backward()
        >>> row.grad.flatten().ne(0).int()
        tensor([0, 1, 1, 0, 0], dtype=torch.int32)
    """

    mask: Tensor | None

    def __init__(
        self,
        in_ranks: Tensor,
        out_ranks: Tensor,
        reach: int = 0,
        mask_type: MaskType = "B",
        zero_first_column: bool = False,
    ) -> None:
        own_rank = out_ranks[:, None]
        visible = in_ranks < own_rank if mask_type == "A" else in_ranks <= own_rank  # at the own pixel, (out, in)
        self.shift = 0 if visible.any() else 1  # columns
        super().__init__(len(in_ranks), len(out_ranks), (1, reach + 1 - self.shift))
        self.padding_left = reach
        self.zero_first_column = zero_first_column and self.shift == 1
        mask = None
        if not self.shift and not visible.all():
            mask = torch.ones_like(self.weight)
            mask[..., -1] = visible[..., None]
        self.register_buffer("mask", mask, persistent=False)

    @property
    def masked_weight(self) -> Tensor:
        """The weights, zero where they are masked, (out_channels, in_channels, 1, columns)."""
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, H, W) to (B, out_channels, H, W)."""
        if self.padding_left:
            x = F.pad(x, (self.padding_left, -self.shift))
        y = F.conv2d(x, self.masked_weight, self.bias)
        return F.pad(y[..., 1:], (1, 0)) if self.zero_first_column else y


def channel_ranks(channels: int, image_channels: int, num_maps: int = 0) -> Tensor:
    """The ranks of `channels` features, divided evenly and in order among the channels of the image.

    Args:
        channels: number of features.
        image_channels: channels of the image.
        num_maps: number of latent maps after the features; their rank is 0, so that all channels see them.

    Returns:
        (channels + num_maps,) int64.

    Example:
        >>> channel_ranks(5, 3, num_maps=1)
        tensor([0, 0, 1, 1, 2, 0])
    """
    return torch.cat([torch.arange(channels) * image_channels // channels, torch.zeros(num_maps, dtype=torch.int64)])


class MaskedConv2d(nn.Conv2d):
    """A k x k convolution without bias that sees the rows above and, in its own row, the pixels to the left.

    Args:
        in_channels: channels of the input that are masked.
        out_channels: channels of the result.
        kernel_size: k, odd.
        num_maps: further channels of the input, which are not masked.
        mask_type: "A", or "B", which also sees the pixel itself.

    Example:
        >>> MaskedConv2d(1, 1, kernel_size=3, mask_type="A").mask[0]
        tensor([[1., 1., 1.],
                [1., 0., 0.],
                [0., 0., 0.]])
    """

    mask: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, num_maps: int = 0, mask_type: MaskType = "B"
    ) -> None:
        super().__init__(in_channels + num_maps, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        mask, middle = torch.ones(in_channels + num_maps, kernel_size, kernel_size), kernel_size // 2
        mask[:in_channels, middle, middle + (mask_type == "B") :] = 0
        mask[:in_channels, middle + 1 :] = 0
        self.register_buffer("mask", mask, persistent=False)

    @property
    def masked_weight(self) -> Tensor:
        """The weights, zero where they are masked, (out_channels, in_channels + num_maps, k, k)."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels + num_maps, H, W) to (B, out_channels, H, W)."""
        return F.conv2d(x, self.masked_weight, padding=self.padding)
