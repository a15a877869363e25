"""Figures of matplotlib: panels side by side, and as images for loggers."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def pixels(figure: Figure) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A figure drawn, (height, width, 3); `Figure(...)` makes one that needs no closing, other than pyplot's.

    Example:
        >>> pixels(Figure(figsize=(6, 3), dpi=100)).shape
        (300, 600, 3)
    """
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def grid(num_panels: int, columns: int = 4, size: float = 3.0) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels, each `size` inches wide.

    Example:
        >>> figure, panels = grid(6)
        >>> len(panels), figure.get_size_inches().tolist()
        (6, [12.0, 5.1])
    """
    columns = min(columns, num_panels)
    rows = -(-num_panels // columns)
    figure = Figure(figsize=(size * columns, 0.85 * size * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for spare in axes[num_panels:]:
        spare.remove()
    return figure, list(axes[:num_panels])
