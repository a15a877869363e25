"""What a user can mend is told in one line that names the mend, with exit status 2 and no traceback."""

import inspect
import re
import traceback
from argparse import ArgumentError
from importlib import import_module

from lightning_fabric.utilities.exceptions import MisconfigurationException

USER_ERRORS = (
    ValueError,
    OSError,
    ModuleNotFoundError,
    FloatingPointError,
    MisconfigurationException,
    ArgumentError,
)
"""The kinds of error that come from what the user gave; others are our own and keep their traceback."""

PARSER_NOISE = ("Does not validate", "Subtypes", "Errors", "Given value", "Expected a <class 'NoneType'>")
"""How the lines of a parser's message begin that say nothing to a user."""


RESTORING = ("resume_start", "restore_training_state", "_restore_modules_and_callbacks", "load_state_dict")
"""Functions, Lightning's and ours, in which an error comes from what a checkpoint says of the training state."""
BUILDING = ("instantiate_classes", "configure_optimizers")
"""Functions in which an error comes from what a config asks for."""


def told(error: BaseException) -> str | None:
    """The line that a user is told; None for an error of our own, which keeps its traceback.

    Example:
        >>> told(ValueError("batch_size must be at least 1"))
        'batch_size must be at least 1'
        >>> told(KeyError("a bug"))
    """
    if isinstance(error, USER_ERRORS):
        return one_line(error)
    passed = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    for functions, what in (
        (RESTORING, "the checkpoint cannot be taken up, it is damaged or of another version"),
        (BUILDING, "the config asks for what cannot be built (SKIPVAE_TRACEBACK=1 shows where)"),
    ):
        if not passed.isdisjoint(functions):
            return " ".join(f"{what}: {error!r}".split())
    return None


def one_line(error: BaseException) -> str:
    """The message of an error, without the layers that parsers and trainers wrap around it.

    Example:
        >>> one_line(ValueError("batch_size must be\\n  at least 1"))
        'batch_size must be: at least 1'
    """
    while isinstance(error.__cause__, USER_ERRORS) and not isinstance(error, ArgumentError):
        error = error.__cause__
    lines = [line.strip(" -:") for line in str(error).splitlines()]
    message = ": ".join(line for line in lines if line and not line.startswith(PARSER_NOISE))
    unknown = re.search(r"class_path '([\w.]+)': Option '\w+' is not accepted", message)
    if unknown:
        module, _, name = unknown[1].rpartition(".")
        accepted = inspect.signature(getattr(import_module(module), name)).parameters
        message += f"; it takes {', '.join(accepted)}"
    return message or type(error).__name__
