"""Sampling from a Gated PixelCNN without computing anything twice.

The vertical stack of a row depends on the rows above alone, so it is computed once per row, for all columns together.
The horizontal stack of a pixel depends on the rows above and on a few columns to its left, whose features are kept:
what remains for each pixel and layer is two small matrix products. Everything is written in place, into views that are
made once.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skipvae.likelihoods import Likelihood
from skipvae.nn.gated_conv import GatedLayer, gate
from skipvae.nn.masked_conv import HorizontalConv2d


class Networks(Protocol):
    """The networks of a `GatedPixelCNNDecoder`, and the number of passes that a pixel is drawn by."""

    image_shape: tuple[int, int, int]
    layers: Iterable[GatedLayer]
    output: HorizontalConv2d
    likelihood: Likelihood
    passes: int


def _as_matrix(convolution: HorizontalConv2d) -> tuple[Tensor, Tensor]:
    """Weight (columns of the kernel * in_channels, out_channels) and bias (out_channels,)."""
    assert convolution.bias is not None
    return convolution.masked_weight.detach().permute(3, 1, 2, 0).flatten(0, 2), convolution.bias.detach()


class _Row:
    """The input of a horizontal convolution along one row, filled in pixel by pixel.

    Attributes:
        windows: the inputs of the convolution at each column, (B, columns of the kernel * channels); views of one row.
        pixels: the features at each column, (B, features); views of the same row.
        columns: the features and the latent maps at each column, (B, channels); views of the same row.
    """

    def __init__(self, convolution: HorizontalConv2d, maps: Tensor | None, batch: int, width: int) -> None:
        self.weight, self.bias = _as_matrix(convolution)
        channels, (_, columns), left = convolution.in_channels, convolution.kernel_size, convolution.padding_left
        row = self.weight.new_zeros(batch, left + width, channels)  # the columns left of the image stay zero
        self.windows = [row[:, j : j + columns].flatten(1) for j in range(width)]
        num_maps = 0 if maps is None else maps.shape[1]
        features, self._row_maps = row[:, left:].tensor_split([channels - num_maps], dim=2)
        self.pixels, self.columns = features.unbind(1), row[:, left:].unbind(1)
        self._maps = None if maps is None else maps.permute(2, 0, 3, 1)  # (H, B, W, num_maps)

    def start(self, i: int) -> None:
        """Fills in the latent maps of row i."""
        if self._maps is not None:
            self._row_maps.copy_(self._maps[i])

    def convolve(self, j: int, base: Tensor, out: Tensor) -> None:
        """Writes base + the convolution without its bias at column j, (B, out_channels), to `out`."""
        torch.addmm(base, self.windows[j], self.weight, out=out)


class _Layer:
    """The state of one layer while images are drawn.

    Attributes:
        row: the input of the horizontal stack along the current row.
        v: the input of the vertical stack, (B, in_channels, H, W), filled in row by row.
    """

    def __init__(self, layer: GatedLayer, maps: Tensor | None, batch: int, height: int, width: int) -> None:
        self.row = _Row(layer.horizontal, maps, batch, width)
        self._vertical, self._down = layer.vertical, layer.down
        self._first_column_with_bias = int(layer.horizontal.zero_first_column)
        top, sides = layer.vertical.padding_top, layer.vertical.padding_sides
        new = self.row.weight.new_zeros
        self._padded = new(batch, layer.vertical.in_channels, top + height, width + 2 * sides)
        self.v = self._padded[:, :, top:, sides : sides + width]
        if maps is not None:
            self.v, v_maps = self.v.tensor_split([-maps.shape[1]], dim=1)
            v_maps.copy_(maps)
        self._above = new(width, batch, layer.horizontal.out_channels)
        self._activation = new(batch, layer.horizontal.out_channels)
        self._tanh, self._sigmoid = self._activation.chunk(2, dim=1)
        self._output, self._output_bias = _as_matrix(layer.output)
        self._shortcut = None if layer.shortcut is None else _as_function(layer.shortcut)
        self._shortcut_input = self.row.columns if layer.shortcut_sees_maps else self.row.pixels

    def start_row(self, i: int) -> Tensor:
        """Prepares row i once its v and all rows above are done; returns v' there, (B, out_channels, W)."""
        self.row.start(i)
        seen = self._padded[:, :, i : i + self._vertical.kernel_size[0]]
        above = F.conv2d(seen, self._vertical.weight, self._vertical.bias)  # (B, 2 * out_channels, 1, W)
        if i == 0 and self._vertical.zero_first_row:
            above = torch.zeros_like(above)
        self._above.copy_(F.conv2d(above, self._down.weight, self._down.bias)[:, :, 0].permute(2, 0, 1))
        self._above[self._first_column_with_bias :] += self.row.bias
        return gate(above)[:, :, 0]

    def draw(self, j: int, out: Tensor) -> None:
        """Writes h' of column j, (B, out_channels), to `out`; the columns to the left must be done."""
        self.row.convolve(j, self._above[j], out=self._activation)
        gated = self._tanh.tanh_().mul_(self._sigmoid.sigmoid_())
        torch.addmm(self._output_bias, gated, self._output, out=out)
        if self._shortcut is not None:
            out += self._shortcut(self._shortcut_input[j])


def _as_function(shortcut: nn.Module) -> Callable[[Tensor], Tensor]:
    if not isinstance(shortcut, HorizontalConv2d):  # the identity
        return lambda h: h
    weight, bias = _as_matrix(shortcut)
    return lambda h: torch.addmm(bias, h, weight)


def draw_gated(decoder: Networks, maps: list[Tensor | None], uniform: Tensor) -> Tensor:
    """Draws images, each pixel by the likelihood's `draw`. To be called in inference mode.

    Args:
        decoder: its networks.
        maps: the latent maps at the input of each layer and of the output, (B, num_maps, H, W) or None.
        uniform: the noise, uniform on [0, 1), (B, U, H, W) with U = `Likelihood.num_uniforms(C)`.

    Returns:
        (B, C, H, W).
    """
    batch, (_, height, width) = len(uniform), decoder.image_shape
    *layer_maps, output_maps = maps
    states = [_Layer(layer, m, batch, height, width) for layer, m in zip(decoder.layers, layer_maps, strict=True)]
    head = _Row(decoder.output, output_maps, batch, width)
    image, pixels = states[0].v, states[0].row.pixels
    results = [*(state.row.pixels for state in states[1:]), head.pixels]  # the destination of each layer's h'
    noise = uniform.permute(2, 3, 0, 1).contiguous()
    parameters = uniform.new_empty(batch, decoder.output.out_channels)
    for i in range(height):
        head.start(i)
        v = states[0].start_row(i)
        for state in states[1:]:
            state.v[:, :, i] = v
            v = state.start_row(i)
        for j in range(width):
            # All channels are drawn at every pass; channel c is final after pass c, as the masks hide the rest.
            for _ in range(decoder.passes):
                for state, result in zip(states, results, strict=True):
                    state.draw(j, out=result[j])
                head.convolve(j, head.bias, out=parameters)
                pixels[j].copy_(decoder.likelihood.draw(parameters, noise[i, j]))
        image[:, :, i] = torch.stack(pixels, dim=2)
    return image
