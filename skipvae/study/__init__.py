"""Studies: many runs, one table; models against varied quantities, each with several seeds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skipvae.study.cli import main
    from skipvae.study.plan import Run, Study, read_study
    from skipvae.study.reporting.report import report

__all__ = ["Run", "Study", "main", "read_study", "report"]

_HOME = {"main": "cli", "Run": "plan", "Study": "plan", "read_study": "plan", "report": "reporting.report"}


def __getattr__(name: str) -> Any:
    """Imports public names when they are first used, so that help need not wait for PyTorch."""
    if name in _HOME:
        return getattr(import_module(f"skipvae.study.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
