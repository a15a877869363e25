"""The codec between images as people have them, arrays of bytes or of fractions, and x."""

import json
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ImageCodec:
    """Images to x (N, C, H, W), fractions from 0 (black) to 1 (white), and back.

    Args:
        image_shape: (C, H, W) of x.
        pictures: how a picture file becomes x, in JSON as it is kept in checkpoints; None if the data said nothing.

    Raises:
        ValueError: if it cannot be read.

    Example:
        >>> codec = ImageCodec((3, 8, 8))
        >>> codec.encode(np.zeros((2, 8, 8, 3), dtype=np.uint8)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, image_shape: tuple[int, ...], pictures: str | None = None) -> None:
        self.image_shape = image_shape
        try:
            self.settings: dict[str, Any] = dict(json.loads(pictures)) if pictures is not None else {}
        except (ValueError, TypeError) as error:
            raise ValueError(f"the format of pictures cannot be read ({error}): the checkpoint is damaged") from error
        self.binary = bool(self.settings.get("binary"))

    @classmethod
    def of(cls, model: Any) -> Self:
        """The codec of a model."""
        return cls(tuple(model.decoder.image_shape), model.codecs.get("pictures"))

    def encode(self, values: Any) -> Tensor:
        """x, float32 (N, C, H, W), of images: an array, a tensor or a list of them.

        Args:
            values: (N, C, H, W), (N, H, W, C), or (N, H, W) where C is 1; bytes, or floats as the model was trained on,
                which are fractions from 0 to 1 unless its data said otherwise. A model of black and white takes what is
                at least half white for white.

        Raises:
            ValueError: if the images have another shape or are no numbers.
        """
        if isinstance(values, (list, tuple)):  # each by itself: its layout and type are no matter of the others
            parts = [self.encode(_tensor(each)[None]) for each in values]
            return torch.cat(parts) if parts else torch.empty(0, *self.image_shape)
        images = _tensor(values)
        channels = self.image_shape[0]
        if images.dim() == 3 and channels == 1:
            images = images.unsqueeze(1)
        if images.dim() == 4 and tuple(images.shape[1:]) != self.image_shape and images.shape[3] == channels:
            images = images.permute(0, 3, 1, 2)
        if images.dim() != 4 or tuple(images.shape[1:]) != self.image_shape:
            wanted = " x ".join(map(str, self.image_shape))
            raise ValueError(f"the model is of images {wanted}, (N, C, H, W), but these are {tuple(images.shape)}")
        if images.dtype == torch.bool:
            images = images.float()
        elif not images.is_floating_point():
            images = images.to(torch.int64) if images.dtype != torch.uint8 else images
            if len(images) and not 0 <= int(images.min()) <= int(images.max()) <= 255:
                raise ValueError(f"whole numbers from {int(images.min())} to {int(images.max())} are no bytes")
            images = images.float() / 255
        elif len(images) and not bool(images.isfinite().all()):
            raise ValueError("an image has values that are not finite")
        images = images.float().contiguous()
        return (images >= 0.5).float() if self.binary else images

    def decode(self, x: Tensor) -> NDArray[np.float32]:
        """x (N, C, H, W) as an array, float32."""
        return x.detach().float().cpu().numpy()


def _tensor(values: Any) -> Tensor:
    """A tensor of numbers, from an array of any byte order."""
    if isinstance(values, Tensor):
        images = values.detach()
    else:
        array = np.asarray(values)
        if array.dtype.kind not in "buif":
            raise ValueError(f"an array of {array.dtype} holds no images: give bytes, or floats from 0 to 1")
        images = torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
    if images.is_complex():
        raise ValueError("complex numbers are no images: give bytes, or floats from 0 to 1")
    return images
