"""Checks of the shapes of images and of rows of tables."""

from collections.abc import Sequence

from torch import Tensor


def check_image_shape(x: Tensor, image_shape: Sequence[int]) -> None:
    """Raises a ValueError unless x is a batch of images of this shape (C, H, W), or of rows of a table, (D,)."""
    if tuple(x.shape[1:]) != tuple(image_shape):
        got, want = (" x ".join(map(str, shape)) for shape in (x.shape[1:], image_shape))
        what = "rows" if x.dim() == 2 else "images"
        raise ValueError(f"the {what} are {got} but the model was built for {want}: set image_shape to match the data")


def image_size(image_shape: Sequence[int] | None) -> tuple[int, int, int]:
    """(C, H, W), or a ValueError if image_shape is not the shape of an image."""
    if image_shape is None or len(image_shape) != 3 or min(image_shape) < 1:
        if image_shape is None:
            shown = "None: does this data set hold images? Its data module must have an attribute image_shape"
        elif len(image_shape) == 1:
            shown = f"{list(image_shape)}: for the columns of a table take MLPEncoder and MLPDecoder"
        else:
            shown = str(list(image_shape))
        raise ValueError(f"image_shape must be (channels, height, width), all at least 1, not {shown}")
    channels, height, width = image_shape
    return channels, height, width


def array_shape(image_shape: Sequence[int] | None) -> tuple[int, ...]:
    """(C, H, W) of images, or (D,) of rows of a table; a ValueError if image_shape is neither."""
    if image_shape is not None and len(image_shape) == 1 and image_shape[0] >= 1:
        return (image_shape[0],)
    return image_size(image_shape)
