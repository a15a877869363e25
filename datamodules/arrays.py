"""Images of one's own as arrays: files of NumPy or PyTorch, or arrays handed over in Python."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from datamodules.image_checks import checked_labels
from datamodules.images import Examples, ImageDataModule, Splits
from datamodules.tensors import check_fractions, draw_splits

IMAGE_KEYS = ("images", "image", "x", "data", "arr_0")
LABEL_KEYS = ("labels", "label", "y", "targets", "arr_1")
"""Names of the arrays in a file, the first one that is there."""
MAX_CHANNELS = 4
"""An axis this short holds the channels of an image: grey or colour, with or without alpha."""


class ArrayDataModule(ImageDataModule):
    """Images from arrays (N, C, H, W), (N, H, W, C) or (N, H, W): bytes, or floats from 0 to 1.

    A file is `.npy` (images), `.npz` or `.pt` (images, and labels if there are any, under names such as images and
    labels, or x and y). In Python an array, or a pair of images and labels, does as well.

    Args:
        train: File or arrays.
        val: Likewise; drawn from the training images if not given.
        test: Likewise.
        val_fraction: Fraction of the training images held out for validation.
        test_fraction: Likewise for test.
        split_seed: Of the splits that are drawn.
        kwargs: See `ImageDataModule`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no images, or images of another shape than the training images.

    Example:
        >>> data = ArrayDataModule(np.random.default_rng(0).integers(0, 256, (100, 8, 8, 3), dtype=np.uint8))
        >>> data.image_shape
        (3, 8, 8)
    """

    def __init__(
        self,
        train: Any,
        val: Any = None,
        test: Any = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_fractions(val_fraction, test_fraction)
        self.sources = {"train": train, "val": val, "test": test}
        self.fractions, self.split_seed = {"val": val_fraction, "test": test_fraction}, split_seed

    @cached_property
    def _given(self) -> Examples:
        return _examples("train", self.sources["train"])

    @property
    def image_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """(C, H, W), that of the training images."""
        channels, height, width = self._given.images.shape[1:]
        return channels, height, width

    def load(self) -> Splits:
        train = self._given
        drawn = {name: fraction for name, fraction in self.fractions.items() if self.sources[name] is None}
        with _naming(_named("train", self.sources["train"])):
            rows = draw_splits(len(train.images), drawn, self.split_seed)
        splits = {name: _rows(train, index) for name, index in rows.items()} if drawn else {"train": train}
        given = {name: _examples(name, self.sources[name]) for name in self.fractions if name not in drawn}
        for name, examples in given.items():
            if (shape := tuple(examples.images.shape[1:])) != self.image_shape:
                raise ValueError(
                    f"{_named(name, self.sources[name])}: images of shape {shape}, but the training images have "
                    f"{self.image_shape}: bring all to one shape"
                )
        return Splits(**splits, **given)

    def checked(self, loaded: Any) -> Splits:
        """As for any images; the message names the files."""
        with _naming(*(source for source in self.sources.values() if isinstance(source, (str, Path)))):
            return super().checked(loaded)


def _rows(examples: Examples, index: Tensor) -> Examples:
    return Examples(examples.images[index], examples.labels[index])


def _examples(split: str, source: Any) -> Examples:
    """Images (N, C, H, W) and labels (N,), as tensors."""
    name = _named(split, source)
    if isinstance(source, (str, Path)):
        source = read_arrays(Path(source).expanduser())
    pair = isinstance(source, (tuple, list)) and len(source) == 2 and not isinstance(source[0], (int, float))
    images, labels = source if pair else (source, None)
    if not isinstance(images, Tensor):
        images = np.asarray(images)
        if images.dtype.kind not in "buif":
            raise ValueError(f"{name}: an array of {images.dtype}, not of numbers: give bytes, or floats from 0 to 1")
        images = torch.as_tensor(images)
    if images.dim() == 3:
        images = images.unsqueeze(1)
    if images.dim() != 4:
        raise ValueError(
            f"{name}: an array of shape {tuple(images.shape)} holds no images: give (N, C, H, W), (N, H, W, C) or "
            "(N, H, W)"
        )
    if not len(images):
        raise ValueError(f"{name}: an array of shape {tuple(images.shape)} holds no images: give at least three")
    if images.shape[1] > MAX_CHANNELS >= images.shape[3]:
        images = images.permute(0, 3, 1, 2)
    if images.is_floating_point() and float(images.max()) > 1 and float(images.min()) >= 0:
        raise ValueError(
            f"{name}: floats from {float(images.min()):g} to {float(images.max()):g} are neither bytes nor fractions: "
            "convert them by .astype('uint8'), or divide them by their largest value"
        )
    with _naming(name):
        return Examples(images.contiguous(), checked_labels(split, labels, len(images)))


@contextmanager
def _naming(*sources: str | Path) -> Iterator[None]:
    """Puts the names of sources before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(": ".join(filter(None, [", ".join(map(str, sources)), str(error)]))) from error


def _named(split: str, source: Any) -> str:
    """The file of a split, or words for arrays without a file."""
    return str(source) if isinstance(source, (str, Path)) else f"the {split} images"


def read_arrays(path: Path, mapped: bool = False) -> Any:
    """The content of a file: an array, or images and labels.

    Args:
        path: The file, .npy, .npz or .pt.
        mapped: Whether an .npy file is not read as a whole, but where it is looked at.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give a file of arrays")
    try:
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return _pair({name: arrays[name] for name in arrays.files if name in IMAGE_KEYS + LABEL_KEYS}, path)
        if path.suffix in (".pt", ".pth"):
            found = torch.load(path, map_location="cpu", weights_only=True)
            return _pair(found, path) if isinstance(found, dict) else found
    except (OSError, EOFError, RuntimeError, ValueError, BadZipFile, UnpicklingError) as error:
        reason = " ".join(str(error).split())
        # NumPy and PyTorch take any content that they do not know for pickled objects.
        if "pickle" in reason or isinstance(error, UnpicklingError):
            reason = "it is damaged, or holds Python objects: save arrays of numbers, by numpy.savez or torch.save"
        raise ValueError(f"{path} cannot be read: {reason}") from error
    raise ValueError(
        f"{path} is none of .npy, .npz and .pt: save your images by numpy.save, or use ImageFolderDataModule"
    )


def _pair(arrays: dict[str, Any], path: Path) -> tuple[Any, Any]:
    images, labels = (next((arrays[key] for key in keys if key in arrays), None) for keys in (IMAGE_KEYS, LABEL_KEYS))
    if images is None:
        raise ValueError(f"none of its arrays is called {', '.join(IMAGE_KEYS)}")
    return images, labels
