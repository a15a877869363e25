"""The gated layer of a PixelCNN: a vertical stack that sees the rows above, a horizontal one that sees its own row."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from skipvae.nn.masked_conv import HorizontalConv2d, MaskType, VerticalConv2d, channel_ranks

LayerKind = Literal["shifted_once", "published", "kim2018"]
LAYER_KINDS: tuple[LayerKind, ...] = get_args(LayerKind)
"""Values of `GatedLayer.kind`."""


def gate(activation: Tensor) -> Tensor:
    """tanh(a) * sigmoid(b) of the two halves a, b of the channels: (B, 2C, ...) -> (B, C, ...)."""
    a, b = activation.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


def with_maps(features: Tensor, maps: Tensor | None) -> Tensor:
    """[features, maps], concatenated as channels; the features alone where there are no latent maps."""
    return features if maps is None else torch.cat([features, maps], dim=1)


class GatedLayer(nn.Module):
    """One layer of the vertical stack v and the horizontal stack h.

        above = vertical([v, maps])
        v'    = gate(above)
        h'    = shortcut(h) + output(gate(horizontal([h, maps]) + down(above)))     without shortcut in the first layer

    `kind` chooses between van den Oord's layer and two published ones:

    - "shifted_once": `vertical` has mask A in the first layer alone, so that no earlier pixel is hidden; the shortcut
      is the identity.
    - "published", of Dieng et al. (2019): `vertical` has mask A in every layer, so that it reaches further up but hides
      what lies above to the right. The shortcut is a learned 1 x 1 convolution of [h, maps]. Row 0 of `above`, and in
      the first layer column 0 of `horizontal`, are zero instead of the bias.
    - "kim2018", of Kim et al. (2018): the same with the identity as shortcut.

    Args:
        in_channels: channels of v and of h.
        out_channels: channels of v' and of h'.
        num_maps: number of latent maps; 0 for none.
        kernel_size: k, odd.
        image_channels: channels of the image.
        first: whether v and h are the image itself: mask A and no shortcut.
        kind: see above.

    Source: van den Oord et al. 2016 (arXiv:1606.05328), figure 2.
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
        ranks_with_maps = channel_ranks(in_channels, image_channels, num_maps)
        published = kind != "shifted_once"
        mask_type: MaskType = "A" if first else "B"
        self.vertical = VerticalConv2d(
            in_channels + num_maps,
            2 * out_channels,
            kernel_size,
            mask_type="A" if published else mask_type,
            zero_first_row=published,
        )
        # Ours has no zeros in column 0: the bias of `horizontal` is everywhere, and a second one would be redundant.
        self.down = nn.Conv2d(2 * out_channels, 2 * out_channels, 1, bias=published)
        reach = kernel_size // 2 + first  # mask A takes the own column away
        self.horizontal = HorizontalConv2d(
            ranks_with_maps, ranks_out.repeat(2), reach, mask_type, zero_first_column=published
        )
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
        above, h_with_maps = self.vertical(with_maps(v, maps)), with_maps(h, maps)
        new_h = self.output(gate(self.horizontal(h_with_maps) + self.down(above)))
        if self.shortcut is not None:
            new_h = new_h + self.shortcut(h_with_maps if self.shortcut_sees_maps else h)
        return gate(above), new_h
