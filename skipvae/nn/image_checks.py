"""Checks of the shapes of images."""

from collections.abc import Sequence

from torch import Tensor


def check_image_shape(x: Tensor, image_shape: Sequence[int]) -> None:
    """Raises a ValueError unless x is a batch of images of this shape (C, H, W)."""
    if tuple(x.shape[1:]) != tuple(image_shape):
        got, want = (" x ".join(map(str, shape)) for shape in (x.shape[1:], image_shape))
        raise ValueError(f"the images are {got} but the model was built for {want}: set image_shape to match the data")


def image_size(image_shape: Sequence[int] | None) -> tuple[int, int, int]:
    """(C, H, W), or a ValueError if image_shape is not the shape of an image."""
    if image_shape is None or len(image_shape) != 3 or min(image_shape) < 1:
        shown = (
            "None: does this data set hold images? Its data module must have an attribute image_shape"
            if image_shape is None
            else list(image_shape)
        )
        raise ValueError(f"image_shape must be (channels, height, width), all at least 1, not {shown}")
    channels, height, width = image_shape
    return channels, height, width
