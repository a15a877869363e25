"""The gated layer of a PixelCNN: a vertical stack that sees the rows above, a horizontal one that sees its own row."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from skipvae.nn.masked_conv import HorizontalConv2d, VerticalConv2d, channel_ranks

LayerKind = Literal["shifted_once", "published", "kim2018"]
LAYER_KINDS: tuple[LayerKind, ...] = get_args(LayerKind)


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

    `kind` chooses between van den Oord's layer and two published ones:

    - "shifted_once": the vertical stack moves down by one row in the first layer alone, so that no earlier pixel is
      hidden; the shortcut is the identity.
    - "published", of Dieng et al. (2019): the vertical stack moves down in every layer, so that it reaches further up
      but hides what lies above to the right. The shortcut is a learned 1 x 1 convolution that also sees the latent
      maps. Row 0 of `above`, and in the first layer column 0 of `horizontal(h)`, are zero, not the bias.
    - "kim2018", of Kim et al. (2018): the same with the identity as shortcut.

    Args:
        in_channels: channels of v and of h.
        out_channels: channels of v' and of h'.
        num_maps: latent maps that are concatenated to both inputs.
        kernel_size: k, odd.
        image_channels: channels of the image.
        first: whether v and h are the image itself: mask A and no shortcut.
        kind: which layer.
    """

    shortcut: nn.Module | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_maps: int,
        kernel_size: int,
        image_channels: int,
        first: bool,
        kind: LayerKind = "shifted_once",
    ) -> None:
        super().__init__()
        ranks_in, ranks_out = channel_ranks(in_channels, image_channels), channel_ranks(out_channels, image_channels)
        ranks_with_maps = torch.cat([ranks_in, torch.zeros(num_maps, dtype=torch.int64)])
        reach, published = kernel_size // 2 + first, kind != "shifted_once"
        shifted = first or published
        self.vertical = VerticalConv2d(in_channels + num_maps, 2 * out_channels, kernel_size, shifted, blank=published)
        # Without zeros in column 0 a second bias would do nothing, since `horizontal` has one.
        self.down = nn.Conv2d(2 * out_channels, 2 * out_channels, 1, bias=published)
        self.horizontal = HorizontalConv2d(ranks_with_maps, ranks_out.repeat(2), reach, first, blank=published)
        self.output = HorizontalConv2d(ranks_out, ranks_out)
        self.shortcut_sees_maps = kind == "published"
        if first:
            self.shortcut = None
        elif self.shortcut_sees_maps:
            self.shortcut = HorizontalConv2d(ranks_with_maps, ranks_out)
        else:
            self.shortcut = nn.Identity() if in_channels == out_channels else HorizontalConv2d(ranks_in, ranks_out)

    def forward(self, v: Tensor, h: Tensor, maps: Tensor | None) -> tuple[Tensor, Tensor]:
        """Maps v, h (B, in_channels, H, W) and maps (B, num_maps, H, W) to v', h' (B, out_channels, H, W)."""
        above, seen = self.vertical(with_maps(v, maps)), with_maps(h, maps)
        new = self.output(gate(self.horizontal(seen) + self.down(above)))
        if self.shortcut is not None:
            new = new + self.shortcut(seen if self.shortcut_sees_maps else h)
        return gate(above), new
