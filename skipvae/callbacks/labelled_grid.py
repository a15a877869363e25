"""Labels beside the rows and above the columns of a grid of images."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from skipvae.callbacks.tiles import LINE, pixels_of

FONT_SIZE = 20  # legible when TensorBoard shows the picture at half its size
SMALLEST_ROW = FONT_SIZE + 6
"""Pixels that a label takes."""


def labelled_grid(
    grid: Tensor, row_labels: Sequence[str], column_labels: Sequence[str], corner: str = ""
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A grid with labels, enlarged by a whole factor where its rows are lower than these.

    Args:
        grid: (3, height, width), as `tiles` makes it: equally large images with lines between and around them.
        row_labels: R of them, written to the left.
        column_labels: one for each column, written above; left out where they would not fit side by side.
        corner: heading of the row labels.

    Returns:
        (height, width, 3).

    Example:
        >>> import torch
        >>> labelled_grid(torch.zeros(3, 62, 62), ["z0", "z1"], ["-1", "0", "1"]).shape[0]
        88
    """
    pixels = pixels_of(grid)
    row_height, column_width = (len(pixels) - LINE) / len(row_labels), (pixels.shape[1] - LINE) / len(column_labels)
    scale = math.ceil(SMALLEST_ROW / row_height)
    font = ImageFont.load_default(FONT_SIZE)
    pixels = pixels.repeat(scale, 0).repeat(scale, 1)
    left = math.ceil(max(font.getlength(label) for label in (*row_labels, corner))) + 8
    picture = Image.new("RGB", (left + pixels.shape[1], SMALLEST_ROW + len(pixels)), "white")
    picture.paste(Image.fromarray(pixels), (left, SMALLEST_ROW))
    draw = ImageDraw.Draw(picture)
    draw.text((4, SMALLEST_ROW / 2), corner, "black", font, anchor="lm")
    for index, label in enumerate(row_labels):
        draw.text((4, SMALLEST_ROW + (index + 0.5) * row_height * scale), label, "black", font, anchor="lm")
    if max(map(font.getlength, column_labels)) <= column_width * scale:
        for index, label in enumerate(column_labels):
            middle = left + (index + 0.5) * column_width * scale
            draw.text((middle, SMALLEST_ROW / 2), label, "black", font, anchor="mm")
    return np.asarray(picture).copy()
