"""Trained models of a study and the first examples of their test data, for the figures and texts of a report."""

import json
import logging
from typing import Any

import torch

from skipvae.errors import USER_ERRORS, one_line
from skipvae.models import GenerativeModel
from skipvae.models.test_split import Examples, first_test_examples
from skipvae.persistence import saved_runs
from skipvae.study.consistency import config_of_run
from skipvae.study.plan import Run

NUM_EXAMPLES = 1000
"""The maximum number of test examples that are loaded."""


class LoadedRuns:
    """Loads models and test examples of runs, each data set once.

    Attributes:
        missing: a message for each data set that cannot be read, such as a folder that is no longer there.
    """

    def __init__(self) -> None:
        self._found: dict[str, Examples | None] = {}
        self.missing: list[str] = []

    def model(self, run: Run) -> Any:
        """The best model of a run, on the GPU if there is one."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return GenerativeModel.load_from_checkpoint(saved_runs.best_checkpoint(run.folder), map_location=device)

    def examples(self, run: Run) -> Examples | None:
        """The first test examples of the data that a run was made with; None if they cannot be read."""
        settings = json.dumps((config_of_run(run.folder) or {}).get("data"))
        if settings not in self._found:
            logging.disable(logging.INFO)  # messages about the data stand in the run's log
            try:
                data = saved_runs.data_of(saved_runs.best_checkpoint(run.folder))
                self._found[settings] = first_test_examples(data, NUM_EXAMPLES)
            except USER_ERRORS as error:
                self._found[settings] = None
                self.missing.append(f"no pictures or texts of test examples of {run.name}: {one_line(error)}")
            finally:
                logging.disable(logging.NOTSET)
        return self._found[settings]
