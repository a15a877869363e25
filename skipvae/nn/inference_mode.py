"""Gradients within PyTorch's inference mode, in which Lightning runs evaluations."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """A context in which gradients can be computed even if inference mode is on around it.

    Tensors that inference mode made can still take part in no gradient: see `without_inference_flag`.
    """
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False):
        torch.clear_autocast_cache()  # its weights were cast in inference mode
        yield


def without_inference_flag(x: Tensor) -> Tensor:
    """x, or a copy of it if it was made in inference mode."""
    return x.clone() if x.is_inference() else x
