"""What the tests of hostile files share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Inject
from tests.faults.mutations import EXPECTED, bounded

LONG = pytest.mark.faults


def examples(few: int, many: int) -> Any:
    """A few mutations in every test run, many in `make faults`."""
    return pytest.mark.parametrize("number", [few, pytest.param(many, marks=LONG)])


def refuses(inject: Inject, fault: str, action: Callable[[], Any]) -> Any:
    """Does something with a hostile file: it works, or fails in one line."""
    with inject(fault), bounded():
        try:
            return action()
        except EXPECTED as error:
            return None if str(error) else pytest.fail("an error without words")


class Bomb:
    """Pickled code: loading it would make a file."""

    def __init__(self, function: Callable[..., Any] = Path.touch, *args: Any) -> None:
        self.call = (function, args or (Path("exploded"),))

    def __reduce__(self) -> Any:
        return self.call
