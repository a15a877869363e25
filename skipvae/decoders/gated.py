"""The gated layer of a PixelCNN: a vertical stack that sees the rows above, a horizontal one that sees its own row."""

import torch
from torch import Tensor, nn

from skipvae.decoders.masked import HorizontalConv2d, VerticalConv2d, channel_ranks


def gate(activation: Tensor) -> Tensor:
    """tanh(a) * sigmoid(b) of the two halves a, b of the channels: (B, 2C, ...) -> (B, C, ...)."""
    a, b = activation.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


def with_maps(features: Tensor, maps: Tensor | None) -> Tensor:
    """The features, and the latent maps where there are any, as channels of one image."""
    return features if maps is None else torch.cat([features, maps], dim=1)


class GatedLayer(nn.Module):
    """One layer of the two stacks (van den Oord et al. 2016, figure 2).

    above = vertical(v);  v' = gate(above);  h' = [shortcut(h) +] output(gate(horizontal(h) + down(above)))

    Args:
        in_channels: channels of v and of h.
        out_channels: channels of v' and of h'.
        num_maps: latent maps that are concatenated to both inputs.
        kernel_size: k, odd.
        image_channels: channels of the image.
        first: whether v and h are the image itself: mask A and no shortcut.
    """

    shortcut: nn.Module | None

    def __init__(
        self, in_channels: int, out_channels: int, num_maps: int, kernel_size: int, image_channels: int, first: bool
    ) -> None:
        super().__init__()
        ranks_in, ranks_out = channel_ranks(in_channels, image_channels), channel_ranks(out_channels, image_channels)
        ranks_with_maps = torch.cat([ranks_in, torch.zeros(num_maps, dtype=torch.int64)])
        reach = kernel_size // 2 + first
        self.vertical = VerticalConv2d(in_channels + num_maps, 2 * out_channels, kernel_size, strict=first)
        self.down = nn.Conv2d(2 * out_channels, 2 * out_channels, 1, bias=False)  # `horizontal` has the bias
        self.horizontal = HorizontalConv2d(ranks_with_maps, ranks_out.repeat(2), reach, strict=first)
        self.output = HorizontalConv2d(ranks_out, ranks_out)
        if first:
            self.shortcut = None
        else:
            self.shortcut = nn.Identity() if in_channels == out_channels else HorizontalConv2d(ranks_in, ranks_out)

    def forward(self, v: Tensor, h: Tensor, maps: Tensor | None) -> tuple[Tensor, Tensor]:
        """Maps v, h (B, in_channels, H, W) and maps (B, num_maps, H, W) to v', h' (B, out_channels, H, W)."""
        above = self.vertical(with_maps(v, maps))
        new = self.output(gate(self.horizontal(with_maps(h, maps)) + self.down(above)))
        return gate(above), new if self.shortcut is None else new + self.shortcut(h)
