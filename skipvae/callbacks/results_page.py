"""The results of a test for the loggers: the table of all metrics, and a plot of the latent dimensions."""

import math
from collections.abc import Iterable
from typing import Any

from pytorch_lightning import Trainer

from skipvae.callbacks.latent_plots import bars
from skipvae.callbacks.loggers import write_picture, write_table


def write_results(trainer: Trainer, model: Any, rows: Iterable[tuple[str, str, str]]) -> None:
    """Writes test/results (text) and, for a model with latent variables, test/dimensions (image).

    Args:
        trainer: at the end of a test, in the process that writes.
        model: with the `results` of the test.
        rows: metric, value, meaning.
    """
    results, step = model.results, model.restored_step or 0
    notes = f"{results.get('num_examples', 0):,} examples; in nats per example where no other unit is named"
    if "measure" in results:
        notes += f"\n\nlog p(x) is {results['measure']}"
    write_table(trainer, "test/results", ["metric", "value", "meaning"], rows, step, notes)
    if results.get("kl_per_dim") and all(map(math.isfinite, results["kl_per_dim"])):
        picture = bars(results["kl_per_dim"], results["variance_per_dim"], results["au_threshold"])
        write_picture(trainer, "test/dimensions", picture, step)
