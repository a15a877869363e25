"""Picture files: which ones a folder holds, and one file to pixels of a given size."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import scandir
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Fit = Literal["crop", "pad", "stretch"]

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})
"""Endings of the files that are taken for pictures, in lower case."""

MAX_PIXELS = 89_478_485
"""A picture of more is taken for a decompression bomb, as Pillow does."""


class Format(NamedTuple):
    """How pictures become arrays of one shape.

    Attributes:
        height: pixels.
        width: pixels.
        color: three channels (RGB), else one (grey).
        fit: `crop` what is beyond the middle, `pad` with the background, or `stretch`.
        background: grey level, 0 to 255, behind transparent pixels and around padded pictures.
    """

    height: int
    width: int
    color: bool
    fit: Fit
    background: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (3 if self.color else 1, self.height, self.width)


class Pictures(NamedTuple):
    """How any picture becomes x, for checkpoints: what `skipvae encode` does with pictures that no split holds.

    Attributes:
        format: The shape of x and how a picture gets it.
        binary: Whether x is black and white; a picture of one's own is then white where it is at least half white.
    """

    format: Format
    binary: bool = False

    def to_json(self) -> str:
        """The JSON text that checkpoints hold."""
        return json.dumps({**self.format._asdict(), "binary": self.binary})


def picture_files(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """The picture files below a folder, sorted by name within each folder; hidden files and folders are left out.

    Args:
        folder: the folder.
        above: the folders that it is in; a link back to one of them is left out.

    Raises:
        OSError: if a folder cannot be read.
    """
    here = folder.resolve()
    if here in above:
        return
    entries = sorted((entry for entry in scandir(folder) if not entry.name.startswith(".")), key=lambda e: e.name)
    for entry in entries:
        if entry.is_dir():
            yield from picture_files(Path(entry.path), above | {here})
        elif Path(entry.name).suffix.lower() in EXTENSIONS:
            yield Path(entry.path)


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Without the warnings of Pillow; stands around threads that read and not in them, for a process has one filter."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def read_pictures(paths: Sequence[str], form: Format) -> list[NDArray[np.uint8] | str]:
    """The pixels of each picture, see `read_picture`, or why there are none."""
    pixels: list[NDArray[np.uint8] | str] = []
    with quiet_decoders():
        for path in paths:
            try:
                pixels.append(read_picture(Path(path), form))
            except ValueError as error:
                pixels.append(str(error))
    return pixels


def read_picture(path: Path, form: Format) -> NDArray[np.uint8]:
    """The pixels of a picture, uint8 (C, H, W): upright by its EXIF orientation, the first frame of an animation.

    Raises:
        ValueError: if it cannot be read: not a picture, cut short, or more pixels than could be meant (a
            decompression bomb); the message does not name the file.
    """
    size = (form.width, form.height)
    try:
        with Image.open(path) as file:
            if file.width * file.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            file.draft("RGB" if form.color else "L", (2 * form.width, 2 * form.height))  # JPEG: decodes no more
            picture = _flat(ImageOps.exif_transpose(file), form)
            if form.fit == "crop":
                picture = ImageOps.fit(picture, size)
            elif form.fit == "pad":
                color = (form.background,) * 3 if form.color else form.background
                picture = ImageOps.pad(picture, size, color=color)
            else:
                picture = picture.resize(size)
    except Image.DecompressionBombError:
        raise ValueError(f"more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # decoders raise anything at all, according to which byte is wrong
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    pixels = np.asarray(picture, dtype=np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if form.color else pixels[None])


def _flat(picture: Image.Image, form: Format) -> Image.Image:
    """The same in mode RGB or L, without transparency."""
    if picture.mode.startswith(("I", "F")):
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        behind = Image.new("RGBA", picture.size, (form.background,) * 3 + (255,))
        picture = Image.alpha_composite(behind, picture)
    return picture.convert("RGB" if form.color else "L")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """A picture of 16 bits a pixel in 8; Pillow's own conversion would clip all above 255."""
    values = np.asarray(picture)
    if values.dtype.kind == "f" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise ValueError(f"{values.dtype} pixels from {values.min():g} to {values.max():g}, not integers up to 65,535")
    return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))


def is_colored(path: Path) -> bool:
    """Whether a picture has a pixel that is not grey; False if it cannot be read."""
    try:
        pixels = read_picture(path, Format(64, 64, True, "stretch", 255)).astype(np.int16)
    except ValueError:
        return False
    return bool(np.max(np.ptp(pixels, axis=0)) > 8)  # JPEG's grey is not quite grey
