"""Counts the faults that were injected and what was lost by them, and prints the table at the end."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.faults import processes

Inject = Callable[..., AbstractContextManager[None]]
TABLE: dict[str, list[int]] = {}
"""Fault -> how often it was injected, and how often something was lost."""


@contextmanager
def _inject(fault: str, runs: int = 1) -> Iterator[None]:
    row = TABLE.setdefault(fault, [0, 0])
    row[0] += runs
    try:
        yield
    except BaseException:
        row[1] += 1
        raise


@pytest.fixture(scope="session")
def inject() -> Inject:
    """`with inject(fault, runs):` stands around what must hold in spite of a fault; an error within it is a loss."""
    return _inject


@pytest.fixture(scope="session", autouse=True)
def _warm_processes() -> None:
    processes.warm_up()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the table: fault, runs, losses."""
    if not TABLE:
        return
    width = max(map(len, TABLE))
    terminalreporter.section("faults")
    terminalreporter.write_line(f"{'fault':<{width}}  {'runs':>6}  losses")
    for fault, (runs, losses) in TABLE.items():
        terminalreporter.write_line(f"{fault:<{width}}  {runs:>6}  {losses:>6}")
    total = [sum(column) for column in zip(*TABLE.values(), strict=True)]
    terminalreporter.write_line(f"{'all':<{width}}  {total[0]:>6}  {total[1]:>6}")
