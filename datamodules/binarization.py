"""Binarisation of grey images: each pixel is a Bernoulli variable whose probability is its grey value."""

import torch
from torch import Tensor

from datamodules.randomness import random_words

_CHUNK = 1024  # images at a time: their words stay in the cache of the processor


def draw_binary(images: Tensor, *counters: int) -> Tensor:
    """Draw every pixel: white with a probability equal to its grey value, else black.

    The draw is a pure function of the counters, the image's index in `images` and the pixel's index in the image.
    Probabilities are exact to 2^-32 for bytes and to 2^-31 for floats; black and white pixels stay as they are.

    Args:
        images: (N, C, H, W), uint8 from 0 to 255 or floats from 0 to 1.
        counters: The purpose of the draw, such as (stream, seed, epoch).

    Returns:
        uint8 (N, C, H, W) of 0 and 255.

    Example:
        >>> grey = torch.tensor([0, 128, 255], dtype=torch.uint8).expand(1000, 1, 1, 3)
        >>> white = draw_binary(grey, 0) == 255
        >>> white[..., 0].any().item(), white[..., 2].all().item(), white[..., 1].sum().item()
        (False, True, ...)
    """
    binary = torch.empty(images.shape, dtype=torch.uint8, device=images.device)
    pixels = images[0].numel() if len(images) else 0
    words_of_image = torch.arange((pixels + 1) // 2, device=images.device)  # one word serves two pixels
    rows = torch.arange(len(images), device=images.device)[:, None]
    for chunk, row, out in zip(
        *(torch.split(tensor, _CHUNK) for tensor in (images, rows, binary.flatten(1))), strict=True
    ):
        uniform = random_words(*counters, row, words_of_image).view(torch.int32)[:, :pixels]
        # clearing the lowest bit keeps white at probability 1
        torch.mul((uniform.bitwise_and_(-2) < _thresholds(chunk.flatten(1))).view(torch.uint8), 255, out=out)
    return binary


def _thresholds(grey: Tensor) -> Tensor:
    """A pixel is white if a uniform 32-bit number is below its grey value x (2^32 - 1), rounded down.

    Both are shifted by 2^31, being signed.
    """
    if grey.is_floating_point():
        return grey.double().mul_(2**32 - 1).floor_().sub_(2**31).int()
    return grey.int().mul_(0x01010101).add_(-(1 << 31))  # (2^32 - 1) / 255 is 0x01010101
