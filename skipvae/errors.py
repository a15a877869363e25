"""What a user can mend is told in one line that names the mend, with exit status 2 and no traceback."""

import inspect
import re
import sys
import traceback
from argparse import ArgumentError
from importlib import import_module
from pathlib import Path

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

WRAPPING = ("jsonargparse", "pytorch_lightning", "lightning_fabric")
"""Packages that raise errors of their own around those that they pass on."""

PACKAGE = Path(__file__).parent
NOT_USERS = (Path(sys.prefix), Path(sys.base_prefix), PACKAGE, PACKAGE.with_name("datamodules"))
"""Folders of code that is not the user's."""

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
        return one_line(error) + _place(error)
    passed = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    for functions, what in (
        (RESTORING, "the checkpoint cannot be taken up, it is damaged or of another version"),
        (BUILDING, "the config asks for what cannot be built (SKIPVAE_TRACEBACK=1 shows where)"),
    ):
        if not passed.isdisjoint(functions):
            return " ".join(f"{what}: {error!r}".split()) + _place(error)
    return None


def one_line(error: BaseException) -> str:
    """The message of an error, without the layers that parsers and trainers wrap around it.

    Example:
        >>> one_line(ValueError("batch_size must be\\n  at least 1"))
        'batch_size must be: at least 1'
    """
    while isinstance(error.__cause__, USER_ERRORS) and _wraps(error):
        error = error.__cause__
    lines = [line.strip(" -:") for line in str(error).splitlines()]
    message = ": ".join(line for line in lines if line and not line.startswith(PARSER_NOISE))
    unknown = re.search(r"class_path '([\w.]+)': Option '\w+' is not accepted", message)
    if unknown:
        module, _, name = unknown[1].rpartition(".")
        accepted = arguments_of(getattr(import_module(module), name))
        message += f"; it takes {', '.join(dict.fromkeys(accepted))}"
    return message or type(error).__name__


def arguments_of(kind: type) -> list[str]:
    """The names of the arguments that a class takes, itself or to pass them on to the classes that it extends."""
    own = inspect.signature(kind).parameters
    named = [name for name, parameter in own.items() if parameter.kind is not parameter.VAR_KEYWORD]
    return named if len(named) == len(own) else named + arguments_of(kind.__mro__[1])


def _wraps(error: BaseException) -> bool:
    """Whether a parser or trainer raised it around an error that says more."""
    raised_in = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not isinstance(error, ArgumentError) and (not raised_in or raised_in[-1].startswith(WRAPPING))


def _place(error: BaseException) -> str:
    """Where in a file of the user's it came up, if it did."""
    passed = ((Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__))
    own = [
        f"{path}:{line}" for path, line in passed if path.is_absolute() and not any(map(path.is_relative_to, NOT_USERS))
    ]
    return f" ({own[-1]}; SKIPVAE_TRACEBACK=1 shows the way there)" if own else ""
