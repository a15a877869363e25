"""Grey images to binary ones: each pixel is drawn as a Bernoulli variable whose probability is its grey value."""

import torch
from torch import Tensor

from datamodules.randomness import random_words

_CHUNK = 1024  # images at a time: their words stay in the cache of the processor


def draw_binary(images: Tensor, *counters: int) -> Tensor:
    """Draw every pixel: white with probability grey / 255, else black.

    The draw is a pure function of the counters, the image's place in `images` and the pixel's place in the image.
    Probabilities are exact to 2^-32; black and white pixels stay as they are.

    Args:
        images: uint8 (N, C, H, W), 0..255.
        counters: What the draw is for, such as (stream, seed, epoch).

    Returns:
        uint8 (N, C, H, W) of 0 and 255.

    Example:
        >>> grey = torch.tensor([0, 128, 255], dtype=torch.uint8).expand(1000, 1, 1, 3)
        >>> white = draw_binary(grey, 0) == 255
        >>> white[..., 0].any().item(), white[..., 2].all().item(), white[..., 1].sum().item()
        (False, True, ...)
    """
    binary = torch.empty_like(images, memory_format=torch.contiguous_format)
    pixels = images[0].numel() if len(images) else 0
    words_of_image = torch.arange((pixels + 1) // 2, device=images.device)  # one word serves two pixels
    examples = torch.arange(len(images), device=images.device)[:, None]
    for chunk, numbers, out in zip(
        *(torch.split(tensor, _CHUNK) for tensor in (images, examples, binary.flatten(1))), strict=True
    ):
        uniform = random_words(*counters, numbers, words_of_image).view(torch.int32)[:, :pixels]
        # A pixel is white if a uniform 32-bit number is below grey x 0x01010101, which is grey x 2^32 / 255 rounded
        # down; clearing the lowest bit keeps white at probability 1. Both sides are shifted by 2^31, being signed.
        threshold = chunk.flatten(1).int().mul_(0x01010101).add_(-(1 << 31))
        torch.mul((uniform.bitwise_and_(-2) < threshold).view(torch.uint8), 255, out=out)
    return binary
