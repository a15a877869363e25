"""Helpers of autograd functions with a hand-written backward pass."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

Backward = Callable[..., tuple[Tensor | None, ...]]


def in_own_types(backward: Backward) -> Backward:
    """Decorates a backward pass that casts by itself: autocast, if it is on there, would cast once more."""

    @wraps(backward)
    def without_autocast(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(gradients[0].device.type, enabled=False):
            return backward(ctx, *gradients)

    return without_autocast


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a b in place, for total (M, N), a (M, L), b (L, N), added in the type of the total."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total.add_(torch.mm(a, b))
