"""The columns of a table: their names, and how their values become numbers around 0."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Columns(NamedTuple):
    """The D columns that a model sees, as x = (value - mean) / scale.

    Attributes:
        names: Of the columns.
        mean: In the units of the table, D numbers.
        scale: Likewise, above 0: the standard deviations, or 1 without standardisation.
    """

    names: list[str]
    mean: list[float]
    scale: list[float]

    @classmethod
    def measured(cls, names: Sequence[str], values: NDArray[np.float64], standardize: bool) -> Self:
        """The columns with mean and standard deviation of these values (N, D); with 0 and 1 without `standardize`."""
        if not standardize:
            return cls(list(names), [0.0] * len(names), [1.0] * len(names))
        unit = np.abs(values).max(0)  # the squares of very large and very small numbers are beyond double precision
        unit[unit == 0] = 1
        mean, scale = ((unit * part).tolist() for part in ((values / unit).mean(0), (values / unit).std(0)))
        return cls(list(names), mean, scale)

    def encode(self, values: NDArray[np.float64]) -> Tensor:
        """Values (N, D) in the units of the table as x, float32 (N, D)."""
        return torch.from_numpy(((values - np.array(self.mean)) / np.array(self.scale)).astype(np.float32))

    def to_json(self) -> str:
        """The JSON text that `load` reads."""
        return json.dumps(self._asdict(), indent=1, ensure_ascii=False)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the columns.json of a run.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no columns.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no {path}: take the columns.json of a run's folder")
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
            names, mean, scale = (list(found[field]) for field in cls._fields)
            columns = cls(list(map(str, names)), list(map(float, mean)), list(map(float, scale)))
            numbers = np.array([columns.mean, columns.scale])
            if not (len(names) == len(mean) == len(scale) > 0 and np.isfinite(numbers).all() and numbers[1].min() > 0):
                raise ValueError("its lists do not fit each other")
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} holds no columns ({error}): take the columns.json of a run's folder") from error
        return columns
