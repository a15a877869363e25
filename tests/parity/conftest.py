"""Says at the end how far ours is from the published numbers, file by file."""

from typing import Any

from tests.parity.arrays import folder, largest


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the largest absolute difference of each file."""
    if largest:
        terminalreporter.section(f"parity with {folder()}")
        for name, (number, difference) in sorted(largest.items()):
            terminalreporter.write_line(f"{name:38} {number:5} arrays, largest difference {difference:.1e}")
