"""Settings that take one of several values."""

from collections.abc import Iterable
from typing import TypeVar

ChoiceT = TypeVar("ChoiceT", bound=str)


def check_choice(name: str, value: ChoiceT, known: Iterable[str]) -> ChoiceT:
    """The value of a setting, or a ValueError that lists the known ones.

    Example:
        >>> check_choice("rule", "adam", ["natural", "published"])
        Traceback (most recent call last):
        ValueError: rule is 'adam': choose from natural, published
    """
    if value not in known:
        raise ValueError(f"{name} is {value!r}: choose from {', '.join(known)}")
    return value
