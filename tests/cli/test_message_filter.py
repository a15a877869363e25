"""Warnings as they are printed."""

from pathlib import Path

from datamodules import lines
from skipvae.cli.message_filter import _format


def test_our_own_warnings_are_one_line_without_code() -> None:
    assert _format("2 lines are empty", UserWarning, str(lines.__file__), 3) == "skipvae: warning: 2 lines are empty\n"
    assert f"{Path('mine.py')}:3: UserWarning: careful" in _format("careful", UserWarning, "mine.py", 3, line="")
