"""Trained models of a study and the first examples of their test data, for the figures and texts of a report."""

import json
import logging
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skipvae.models import GenerativeModel
from skipvae.persistence import saved_runs
from skipvae.study.consistency import config_of_run
from skipvae.study.plan import Run
from skipvae.study.running.worker import best_checkpoint
from skipvae.text.tokens import pad_sentences

NUM_EXAMPLES = 1000
"""The maximum number of test examples that are loaded."""


class Examples(NamedTuple):
    """The first examples of a test split: x (N, ...), and labels (N,) if the data has labels."""

    x: Tensor
    label: Tensor | None


class LoadedRuns:
    """Loads models and test examples of runs, each data set once."""

    def __init__(self) -> None:
        self._found: dict[str, Examples] = {}

    def model(self, run: Run) -> Any:
        """The best model of a run, on the GPU if there is one."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return GenerativeModel.load_from_checkpoint(best_checkpoint(run.folder), map_location=device)

    def examples(self, run: Run) -> Examples:
        """The first test examples of the data that a run was made with."""
        settings = json.dumps((config_of_run(run.folder) or {}).get("data"))
        if settings not in self._found:
            logging.disable(logging.INFO)  # messages about the data stand in the run's log
            try:
                self._found[settings] = _first_examples(run)
            finally:
                logging.disable(logging.NOTSET)
        return self._found[settings]


def _first_examples(run: Run) -> Examples:
    data = saved_runs.data_of(best_checkpoint(run.folder))
    data.prepare_data()
    data.setup("test")
    batches: list[tuple[Tensor, ...]] = []
    for batch in data.test_dataloader():
        batches.append(batch)
        if sum(len(x) for x, *_ in batches) >= NUM_EXAMPLES:
            break
    inputs = [batch[0] for batch in batches]
    x = (pad_sentences(inputs) if inputs[0].dim() == 2 else torch.cat(inputs))[:NUM_EXAMPLES]
    labels = [batch[1] for batch in batches if len(batch) > 1 and isinstance(batch[1], Tensor)]
    return Examples(x, torch.cat(labels)[:NUM_EXAMPLES] if labels else None)
