"""The results of a test in TensorBoard: the table of all metrics, and a plot of the latent dimensions."""

import math
from collections.abc import Iterable
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from skipvae.callbacks import markdown
from skipvae.callbacks.latent_plots import bars


def write_results(trainer: Trainer, model: Any, rows: Iterable[tuple[str, str, str]]) -> None:
    """Writes test/results (text) and, for a model with latent variables, test/dimensions (image).

    Args:
        trainer: at the end of a test, in the process that writes.
        model: with the `results` of the test.
        rows: metric, value, meaning.
    """
    writers = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    results, step = model.results, model.restored_step or 0
    unit = f"{results.get('num_examples', 0):,} examples; in nats per example where no other unit is named"
    measure = f"log p(x) is {results['measure']}" if "measure" in results else ""
    text = "\n\n".join([unit, markdown.table(["metric", "value", "meaning"], rows), measure])
    for writer in writers:
        writer.add_text("test/results", text, step)
        if results.get("kl_per_dim") and all(map(math.isfinite, results["kl_per_dim"])):
            picture = bars(results["kl_per_dim"], results["variance_per_dim"], results["au_threshold"])
            writer.add_image("test/dimensions", picture, step, dataformats="HWC")
