"""Images side by side in one picture, and as thumbnails, for people to look at."""

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import make_grid

GREY = 0.5
"""Of the lines between images, and of what fills up a row or a thumbnail."""
LINE = 2
"""Pixels between images."""
SIDE = 64
"""Pixels that the longer side of an image has at least half of in a picture, and at most in a thumbnail."""


def tiles(images: Tensor, columns: int) -> Tensor:
    """Images (B, C, H, W) in rows, (3, height, width) in [0, 1] on the CPU; small ones are enlarged by a whole factor.

    Example:
        >>> import torch
        >>> tiles(torch.rand(6, 3, 30, 17), columns=3).shape
        torch.Size([3, 126, 110])
    """
    images = shown(images)
    factor = max(1, SIDE // max(images.shape[2:]))
    enlarged = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return make_grid(enlarged, nrow=columns, padding=LINE, pad_value=GREY)  # type: ignore[no-any-return]


def pixels_of(picture: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture (3, height, width) in [0, 1] as pixels (height, width, 3).

    Example:
        >>> import torch
        >>> pixels_of(torch.full((3, 2, 5), 0.5)).shape
        (2, 5, 3)
    """
    return picture.mul(255).round().byte().permute(1, 2, 0).numpy()


def thumbnails(images: Tensor) -> Tensor:
    """Images (B, C, H, W) as square ones of three channels, (B, 3, S, S) in [0, 1] on the CPU, S at most 64.

    Example:
        >>> import torch
        >>> thumbnails(torch.rand(6, 1, 100, 17)).shape
        torch.Size([6, 3, 64, 64])
    """
    images = shown(images)
    height, width = images.shape[2:]
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    square = F.pad(images, (left, side - width - left, top, side - height - top), value=GREY)
    if side > SIDE:
        square = F.interpolate(square, size=SIDE, mode="area")
    return square.expand(-1, 3, -1, -1)


def shown(images: Tensor) -> Tensor:
    """(B, 1 or 3, H, W) in [0, 1] on the CPU; any other number of channels is averaged."""
    images = images.detach().float().cpu()
    if images.shape[1] not in (1, 3):
        images = images.mean(1, keepdim=True)
    return images.clamp(0, 1)
