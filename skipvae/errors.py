"""Errors that a user can fix: one line that names the fix, with exit status 2 and no traceback."""

import inspect
import re
import sys
import traceback
from argparse import ArgumentError
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from lightning_fabric.utilities.exceptions import MisconfigurationException

from skipvae.compatibility import BUILDING, RESTORING

USER_ERRORS = (
    ValueError,
    OSError,
    ModuleNotFoundError,
    FloatingPointError,
    MisconfigurationException,
    ArgumentError,
)
"""The kinds of error that come from what the user gave; others are our own and keep their traceback."""

SERVICES = ("wandb", "mlflow")
"""Packages of loggers, whose own errors are about an account, a server or a database of the user's."""

WRAPPING = ("jsonargparse", "pytorch_lightning", "lightning_fabric")
"""Packages that wrap errors of others in errors of their own."""

PACKAGE = Path(__file__).parent
OURS = (PACKAGE, PACKAGE.with_name("datamodules"))
"""Folders of our own code."""
NOT_USERS = (Path(sys.prefix), Path(sys.base_prefix), *OURS)
"""Folders of code that is not the user's."""

PARSER_NOISE = ("Does not validate", "Subtypes", "Errors", "Given value", "Expected a <class 'NoneType'>")
"""Beginnings of the lines in a parser's message that tell a user nothing."""

EXPECTED = r"Expected a <class '(\w+)'>"
"""A type that a parser tried."""


def require(what: str, extra: str, packages: Sequence[str]) -> None:
    """Raises a ModuleNotFoundError that names an optional extra of this package, if one of its packages is missing.

    Example:
        >>> require("a page", "pages", ["no_such_package"])
        Traceback (most recent call last):
        ModuleNotFoundError: a page needs no_such_package, which is not installed: pip install 'skipvae[pages]'
    """
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(
                f"{what} needs {package}, which is not installed: pip install 'skipvae[{extra}]'", name=package
            )


def user_message(error: BaseException) -> str | None:
    """The line for the user; None for an error of our own, which keeps its traceback.

    Example:
        >>> user_message(ValueError("batch_size must be at least 1"))
        'batch_size must be at least 1'
        >>> user_message(KeyError("a bug"))
    """
    if isinstance(error, USER_ERRORS) or type(error).__module__.partition(".")[0] in SERVICES:
        return one_line(error) + _origin(error)
    passed = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    for functions, message in (
        (RESTORING, "the run cannot be resumed from the checkpoint, which is damaged or of another version"),
        (BUILDING, "the config asks for what cannot be built (SKIPVAE_TRACEBACK=1 shows where)"),
    ):
        if not passed.isdisjoint(functions):
            return " ".join(f"{message}: {error!r}".split()) + _origin(error)
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
    if given := re.search("Given value: (.+)", str(error)):  # which one of several types should have been
        types = rf"{EXPECTED}(: {EXPECTED})*$"
        message = re.sub(types, lambda found: _mismatch(given[1], found[0]), message)
    unknown = re.search(r"class_path '([\w.]+)': Option '(\w+)' is not accepted$", message)
    if unknown:
        module, _, name = unknown[1].rpartition(".")
        accepted = arguments_of(getattr(import_module(module), name))
        message += f"; it takes {', '.join(dict.fromkeys(accepted))}"
        if close := get_close_matches(unknown[2], accepted, 1):
            message += f": did you mean {close[0]}?"
    return message or type(error).__name__


def _mismatch(value: str, expected: str) -> str:
    """Such as `8.5 is none of int, list`."""
    return f"{value} is none of {', '.join(re.findall(EXPECTED, expected))}"


def arguments_of(kind: type) -> list[str]:
    """The names of the arguments that a class takes, itself or to pass them on to the classes that it extends."""
    own = inspect.signature(kind).parameters
    named = [name for name, parameter in own.items() if parameter.kind is not parameter.VAR_KEYWORD]
    return named if len(named) == len(own) else named + arguments_of(kind.__mro__[1])


def _wraps(error: BaseException) -> bool:
    """Whether a parser or trainer raised it to wrap an error that says more."""
    raised_in = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not isinstance(error, ArgumentError) and (not raised_in or raised_in[-1].startswith(WRAPPING))


def _origin(error: BaseException) -> str:
    """The line of the user's own code in which an error came up, if there is one."""
    passed = ((Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__))
    own = [
        f"{path}:{line}" for path, line in passed if path.is_absolute() and not any(map(path.is_relative_to, NOT_USERS))
    ]
    return f" ({own[-1]}; SKIPVAE_TRACEBACK=1 shows the way there)" if own else ""
