"""Checks of what the data hands to the model."""

from collections.abc import Sequence

from torch import Tensor


def check_image_shape(x: Tensor, image_shape: Sequence[int]) -> None:
    """Raises a ValueError unless x is a batch of images of this shape (C, H, W)."""
    if tuple(x.shape[1:]) != tuple(image_shape):
        got, want = (" x ".join(map(str, shape)) for shape in (x.shape[1:], image_shape))
        raise ValueError(f"the images are {got} but the model was built for {want}: set image_shape to match the data")
