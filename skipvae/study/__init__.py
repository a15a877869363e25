"""Many runs, one table: models against what is varied, each with several seeds."""

from skipvae.study.cli import main
from skipvae.study.plan import Run, Study, read_study
from skipvae.study.reporting.report import report

__all__ = ["Run", "Study", "main", "read_study", "report"]
