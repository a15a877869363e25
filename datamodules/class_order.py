"""The order of classes, by which they get their numbers."""

from collections.abc import Iterable
from math import isfinite


def in_order(names: Iterable[str]) -> list[str]:
    """The different names: by their values if all are numbers, else by the alphabet.

    Example:
        >>> in_order(["10", "9", "9"]), in_order(["10", "9", "cat"])
        (['9', '10'], ['10', '9', 'cat'])
    """
    different = sorted(set(names))
    try:
        values = list(map(float, different))
    except ValueError:
        return different
    return sorted(different, key=float) if all(map(isfinite, values)) else different
