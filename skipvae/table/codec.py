"""The codec between rows in the units of a table and x, by the columns of a model."""

import json
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class TableCodec:
    """Rows in the units of the table to rows of x = (value - mean) / scale, and back.

    Args:
        columns: names, means and scales of the columns in JSON, as they are kept in checkpoints.

    Raises:
        ValueError: if they cannot be read.

    Example:
        >>> codec = TableCodec('{"names": ["height"], "mean": [170.0], "scale": [10.0]}')
        >>> codec.encode([[160.0], [175.0]]).tolist(), codec.decode(torch.tensor([[-1.0], [0.5]])).tolist()
        ([[-1.0], [0.5]], [[160.0], [175.0]])
    """

    def __init__(self, columns: str) -> None:
        try:
            found = json.loads(columns)
            names, mean, scale = found["names"], found["mean"], found["scale"]
            self.names: list[str] = [str(name) for name in names]
            self.mean, self.scale = torch.tensor(mean, dtype=torch.double), torch.tensor(scale, dtype=torch.double)
            finite = bool((self.mean.isfinite() & self.scale.isfinite() & (self.scale > 0)).all())
            if not (self.mean.shape == self.scale.shape == (len(self.names),) and finite):
                raise ValueError("its lists do not fit each other")
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            raise ValueError(f"the columns cannot be read ({error}): the checkpoint is damaged") from error

    @classmethod
    def of(cls, model: Any) -> "TableCodec":
        """The codec of a model; of one whose data said nothing of columns, with numbers for names and x itself."""
        columns, (num_columns,) = model.codecs.get("columns"), model.decoder.image_shape
        if columns is None:
            names = [f"x_{number}" for number in range(num_columns)]
            columns = json.dumps({"names": names, "mean": [0.0] * num_columns, "scale": [1.0] * num_columns})
        codec = cls(columns)
        if len(codec.names) != num_columns:
            raise ValueError(
                f"{len(codec.names)} columns do not fit a model of {num_columns}: the checkpoint is damaged"
            )
        return codec

    def encode(self, values: Any) -> Tensor:
        """x, float32 (N, D), of rows in the units of the table: an array, a tensor or lists of numbers.

        Raises:
            ValueError: if the rows have another length, or a value is missing or infinite.
        """
        rows = torch.as_tensor(np.asarray(values) if isinstance(values, (list, tuple)) else values).detach().double()
        if rows.dim() != 2 or rows.shape[1] != len(self.names):
            raise ValueError(
                f"rows must be (N, {len(self.names)}), columns {', '.join(self.names[:10])}, not {tuple(rows.shape)}"
            )
        if not bool(rows.isfinite().all()):
            row, column = rows.isfinite().logical_not().nonzero()[0].tolist()
            raise ValueError(f"{self.names[column]!r} of row {row} is {float(rows[row, column])}, which is no number")
        return ((rows.cpu() - self.mean) / self.scale).float()

    def decode(self, x: Tensor) -> NDArray[np.float64]:
        """Rows x (..., D) in the units of the table."""
        return (self.mean + self.scale * x.detach().double().cpu()).numpy()


def check_same_columns(saved: str, here: str, path: object) -> None:
    """Raises a ValueError if the columns of a checkpoint and of the data, or their standardisation, differ."""
    there, ours = TableCodec(saved), TableCodec(here)
    cause = None
    if there.names != ours.names:
        differ = sorted({*there.names} ^ {*ours.names})
        cause = f"{len(there.names)} columns there and {len(ours.names)} here" + (
            f", {', '.join(map(repr, differ[:3]))} in one of them alone" if differ else ", in another order"
        )
    else:
        for name, *numbers in zip(there.names, there.mean, there.scale, ours.mean, ours.scale, strict=True):
            mean, scale, our_mean, our_scale = map(float, numbers)
            if not (
                math.isclose(mean, our_mean, rel_tol=1e-6, abs_tol=1e-6 * scale)
                and math.isclose(scale, our_scale, rel_tol=1e-6)
            ):
                cause = f"{name!r} is {mean:g} ± {scale:g} there and {our_mean:g} ± {our_scale:g} here"
                break
    if cause is not None:
        raise ValueError(
            f"{path} was trained with other columns than those of the data: {cause}; has the table or its split "
            "changed? To read it as the run did, set data.columns_file to the columns.json of its folder"
        )
