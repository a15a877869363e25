"""CSV files that `skipvae sample|reconstruct|interpolate` write of a model of tables, in the units of the table."""

import csv
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skipvae.persistence.atomic import atomic_write
from skipvae.table.codec import TableCodec


def write_rows(model: Any, x: Tensor, output: str) -> None:
    """Writes rows x (N, D)."""
    _write(model, output, (), (() for _ in x), x)


def write_decoded(model: Any, parts: Iterable[NDArray[np.float64]], output: str) -> None:
    """Writes rows (n, D) in the units of the table, part after part."""
    with atomic_write(output) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(TableCodec.of(model).names)
        for part in parts:
            table.writerows([f"{value:.9g}" for value in row] for row in part.tolist())
    print(f"wrote {output}")


def write_reconstructions(model: Any, x: Tensor, output: str) -> None:
    """Writes rows x (N, D), each above its reconstruction."""
    pairs = torch.stack([x, model.reconstruct(x)], 1).flatten(0, 1)
    keys = [(example, part) for example in range(len(x)) for part in ("input", "reconstruction")]
    _write(model, output, ("example", "part"), keys, pairs)


def write_interpolations(model: Any, x0: Tensor, x1: Tensor, steps: int, output: str) -> None:
    """Writes the interpolation from each row of x0 (N, D) to that of x1."""
    path = model.interpolate(x0, x1, steps)  # (N, steps, D)
    keys = [(pair, step) for pair in range(len(path)) for step in range(steps)]
    _write(model, output, ("pair", "step"), keys, path.flatten(0, 1))


def _write(model: Any, output: str, names: Sequence[str], keys: Iterable[Sequence[Any]], x: Tensor) -> None:
    codec = TableCodec.of(model)
    with atomic_write(output) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*names, *codec.names])
        for key, values in zip(keys, codec.decode(x).tolist(), strict=True):
            table.writerow([*key, *(f"{value:.9g}" for value in values)])
    print(f"wrote {output}")
