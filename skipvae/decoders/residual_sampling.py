"""Sampling from a residual PixelCNN without computing anything twice.

At every layer the features of a pixel depend on those of earlier pixels alone. So they are computed once, pixel by
pixel, and each masked convolution keeps its inputs. Batch norm with its running statistics is a factor and a shift.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skipvae.likelihoods import Likelihood
from skipvae.nn.masked_conv import MaskedConv2d
from skipvae.nn.residual_conv import Bottleneck


class Networks(Protocol):
    """The networks of a `ResidualPixelCNNDecoder`."""

    first: MaskedConv2d
    first_norm: nn.BatchNorm2d
    blocks: nn.ModuleList
    connections: nn.ModuleList
    head: nn.Conv2d
    head_norm: nn.BatchNorm2d
    output: nn.Conv2d
    likelihood: Likelihood


class _Norm:
    """Batch norm by its running statistics: (h - mean) / sqrt(variance + eps) weight + bias = h scale + shift."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        self.shift = norm.bias - norm.running_mean * self.scale

    def __call__(self, h: Tensor) -> Tensor:
        """Maps (B, C) to (B, C)."""
        return torch.addcmul(self.shift, h, self.scale)


class _MaskedPixel:
    """A masked convolution at one pixel, which keeps its inputs at earlier pixels.

    Args:
        convolution: of `channels` masked inputs, and of latent maps, which are left out.
        channels: number of masked inputs.
        batch: B.
        height: of the image.
        width: of the image.
    """

    def __init__(self, convolution: MaskedConv2d, channels: int, batch: int, height: int, width: int) -> None:
        self.reach = reach = convolution.kernel_size[0] // 2
        weight = convolution.masked_weight[:, :channels, : reach + 1]  # the rows below are masked
        self.weight = weight.permute(2, 3, 1, 0).flatten(0, 2)  # (rows * columns * channels, out_channels)
        self.inputs = weight.new_zeros(batch, height + reach, width + 2 * reach, channels)

    def put(self, h: Tensor, i: int, j: int) -> None:
        """Stores the input at pixel (i, j), (B, channels)."""
        self.inputs[:, i + self.reach, j + self.reach] = h

    def __call__(self, i: int, j: int) -> Tensor:
        """The result at pixel (i, j), (B, out_channels)."""
        window = self.inputs[:, i : i + self.reach + 1, j : j + 2 * self.reach + 1]
        return window.flatten(1) @ self.weight


class _BottleneckPixel:
    """A `Bottleneck` at one pixel."""

    def __init__(self, block: Bottleneck, batch: int, height: int, width: int) -> None:
        self.norms = [_Norm(norm) for norm in (block.norm1, block.norm2, block.norm3)]
        self.reduce, self.expand = _as_matrix(block.reduce), _as_matrix(block.expand)
        self.masked = _MaskedPixel(block.masked, block.masked.in_channels, batch, height, width)

    def __call__(self, x: Tensor, maps: Tensor | None, i: int, j: int) -> Tensor:
        """The result at pixel (i, j), (B, channels), for x (B, channels) and the latent maps (B, num_maps, H, W)."""
        self.masked.put(F.elu(self.norms[0](_with_maps_at(x, maps, i, j) @ self.reduce)), i, j)
        h = F.elu(self.norms[1](self.masked(i, j)))
        return F.elu(self.norms[2](h @ self.expand) + x)


def _as_matrix(convolution: nn.Conv2d) -> Tensor:
    """The weights of a 1 x 1 convolution, (in_channels, out_channels)."""
    return convolution.weight[:, :, 0, 0].t()


def _with_maps_at(h: Tensor, maps: Tensor | None, i: int, j: int) -> Tensor:
    """[h, maps at pixel (i, j)], (B, C + num_maps), for h (B, C)."""
    return h if maps is None else torch.cat([h, maps[:, :, i, j]], 1)


def draw_residual(decoder: Networks, maps: list[Tensor | None], uniform: Tensor) -> Tensor:
    """Draws images, each pixel by the likelihood's `draw`. To be called in inference mode.

    Args:
        decoder: its networks.
        maps: the latent maps at the input of each block and of the output, (B, latent_maps, H, W) or None.
        uniform: the noise, uniform on [0, 1), (B, U, H, W) with U = `Likelihood.num_uniforms(1)`.

    Returns:
        (B, 1, H, W).
    """
    batch, _, height, width = uniform.shape
    first_maps, *block_maps, output_maps = maps
    size = batch, height, width
    first, first_norm = _MaskedPixel(decoder.first, 1, *size), _Norm(decoder.first_norm)
    blocks = [_BottleneckPixel(block, *size) for block in decoder.blocks]  # type: ignore[arg-type]
    connections = [_BottleneckPixel(block, *size) for block in decoder.connections]  # type: ignore[arg-type]
    head, head_norm, output = _as_matrix(decoder.head), _Norm(decoder.head_norm), _as_matrix(decoder.output)
    from_maps = None
    if first_maps is not None:  # not masked, so their part of the first convolution is known for all pixels
        from_maps = F.conv2d(first_maps, decoder.first.weight[:, 1:], padding=decoder.first.padding)
    image = uniform.new_zeros(batch, 1, height, width)
    for i in range(height):
        for j in range(width):  # the equations of `ResidualPixelCNNDecoder` at pixel (i, j)
            a = first(i, j) if from_maps is None else first(i, j) + from_maps[:, :, i, j]
            y = [F.elu(first_norm(a))]
            u = y[0]
            for n, (block, maps_n) in enumerate(zip(blocks, block_maps, strict=True), start=2):
                y.append(block(u, maps_n, i, j))
                u = y[-1] if n == 2 else y[-1] + connections[n - 3](y[-3], None, i, j)
            parameters = _with_maps_at(F.elu(head_norm(u @ head)), output_maps, i, j) @ output
            pixel = decoder.likelihood.draw(parameters, uniform[:, :, i, j])
            image[:, :, i, j] = pixel
            first.put(pixel, i, j)
    return image
