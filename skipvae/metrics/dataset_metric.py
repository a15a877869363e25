"""The base class of metrics: a list of float64 rows, gathered whole from every process."""

from typing import Any

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from skipvae.compatibility import MergingMetric


def as_float64(x: Tensor | NDArray[Any]) -> Tensor:
    """x, a tensor with or without gradient or an array, in float64; on the CPU where the device has none (Apple's MPS).

    Example:
        >>> import numpy as np
        >>> as_float64(torch.ones(1, requires_grad=True)), as_float64(np.ones(1, np.float32))
        (tensor([1.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    x = torch.as_tensor(x).detach()
    return (x.cpu() if x.is_mps else x).double()


def gather_uneven(rows: Tensor, group: Any = None) -> list[Tensor]:
    """The rows of every process in rank order, for `torchmetrics.Metric(dist_sync_fn=...)`.

    torchmetrics' own gather needs the same number of dimensions and the same dtype everywhere, which a process that
    has seen no example cannot know. Its rows are of shape (0,), which `torch.cat` passes over.
    """
    gathered: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, rows.cpu(), group=group)
    return [theirs.to(rows.device) for theirs in gathered]


class DatasetMetric(MergingMetric):
    """A metric of a whole data set, whose state is a list of float64 tensors (n, ...) called `rows`.

    Concatenating rows is all that merging does, so processes, `merge_state` and `forward` agree exactly,
    however unevenly the examples are spread. Subclasses write `update` and `compute`.
    """

    full_state_update = False
    is_differentiable = False
    rows: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dist_sync_fn": gather_uneven, **kwargs})
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def all_rows(self) -> Tensor:
        """All rows, (n, ...); to be called by `compute`, where torchmetrics has gathered them.

        Raises:
            ValueError: if there are none, or if a value is NaN or infinite. It is checked here so that `update` does
                not wait for the device.
        """
        name = type(self).__name__
        rows: Tensor = dim_zero_cat(self.rows) if len(self.rows) else torch.empty(0)
        if not rows.numel():
            raise ValueError(f"{name} has seen no examples: call update before compute")
        if not rows.isfinite().all():
            raise ValueError(
                f"{name} was given values that are NaN or infinite, so the model has diverged: go back to the "
                "last good checkpoint and lower the learning rate or clip the gradients"
            )
        return rows
