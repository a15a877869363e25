"""Checks of the images and labels that a data module has loaded."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor


def checked_images(split: str, images: Any, image_shape: tuple[int, int, int] | None) -> Tensor:
    """The images of a split as a tensor (N, C, H, W): uint8 grey levels from 0 to 255, or float32 values.

    Args:
        split: The name of the split, for messages.
        images: A tensor or a NumPy array.
        image_shape: (C, H, W).

    Raises:
        ValueError: If they cannot be converted to that; says what to do.

    Example:
        >>> checked_images("train", np.full((2, 1, 4, 4), 255, dtype=np.uint8), (1, 4, 4)).shape
        torch.Size([2, 1, 4, 4])
    """
    pixels, found = _tensor(split, "images", images), f"the {split} images are"
    shape = tuple(pixels.shape)
    if image_shape is None:
        raise ValueError(f"{found} of shape {shape}: give the data module an attribute image_shape, its (C, H, W)")
    if shape[1:] != (wanted := tuple(image_shape)):
        fix = f"set image_shape to {shape[1:]}, to match" if len(shape) == 4 else "give (N, C, H, W)"
        if wanted[0] == 1 and shape[1:] == wanted[1:]:
            fix = "add the channel, as by images[:, None]"
        elif shape[1:] == (*wanted[1:], wanted[0]):
            fix = "put the channels first, as by torch.as_tensor(images).permute(0, 3, 1, 2)"
        raise ValueError(f"{found} of shape {shape}, but image_shape is {wanted}: {fix}")
    if not shape[0]:
        raise ValueError(f"the {split} split has no images: hold some out for it")
    kind = str(pixels.dtype).removeprefix("torch.")
    if pixels.is_floating_point():
        if not pixels.isfinite().all():
            raise ValueError(f"{found} {kind} with NaN or infinity among them: fix or leave out such images")
        return pixels.float()
    if pixels.dtype != torch.uint8:
        raise ValueError(f"{found} {kind}: give uint8 from 0 (black) to 255 (white), or floats from 0 to 1")
    # Zeros and ones, 17 levels, percentages. A small split may be dark by chance, but never all zeros and ones.
    suspicious = 100 if split == "train" else 1
    if (brightest := int(pixels.max())) <= suspicious:
        raise ValueError(
            f"{found} uint8 from {int(pixels.min())} to {brightest}, where white is 255: rescale them to 0..255, or "
            "give floats from 0 to 1"
        )
    return pixels


def checked_labels(split: str, labels: Any, num_images: int) -> Tensor:
    """The labels of a split as int64 (N,); -1 where there are none.

    Raises:
        ValueError: If they are not one integer for each image.

    Example:
        >>> checked_labels("test", None, 3)
        tensor([-1, -1, -1])
    """
    if labels is None:
        return torch.full((num_images,), -1)
    classes = _tensor(split, "labels", labels)
    if classes.is_floating_point() or classes.is_complex() or classes.shape != (num_images,):
        kind = str(classes.dtype).removeprefix("torch.")
        raise ValueError(
            f"the {split} labels are {kind} of shape {tuple(classes.shape)}: give one integer for each of the "
            f"{num_images} images, or None"
        )
    return classes.long()


def _tensor(split: str, name: str, array: Any) -> Tensor:
    if isinstance(array, np.ndarray) and array.dtype.kind in "biuf":
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about read-only arrays: nothing writes here
            return torch.from_numpy(native)
    if not isinstance(array, Tensor):
        kind = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
        raise ValueError(f"the {split} {name} are {kind}: give a tensor or a NumPy array of numbers")
    return array.detach().cpu()
