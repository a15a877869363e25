"""Evaluation mode during a call, without dropout and batch statistics; afterwards the mode is what it was before."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from torch import nn

MethodT = TypeVar("MethodT", bound=Callable[..., Any])


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """A context with a module and all its parts in evaluation mode; afterwards each has the mode of before.

    Example:
        >>> dropout = nn.Dropout()
        >>> with evaluation_mode(dropout):
        ...     dropout.training
        False
        >>> dropout.training
        True
    """
    in_training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in in_training:
            part.training = True


def in_evaluation_mode(method: MethodT) -> MethodT:
    """Decorates a method of a module whose result must not depend on the module's mode."""

    @wraps(method)
    def evaluated(self: nn.Module, *args: Any, **options: Any) -> Any:
        with evaluation_mode(self):
            return method(self, *args, **options)

    return cast(MethodT, evaluated)
