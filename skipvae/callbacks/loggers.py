"""The loggers of a run: pictures, tables of text and settings, in the form that each of them takes.

Metrics need nothing of this: Lightning hands them to every logger.
`docs/tensorboard.md` says what goes where.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from torch.utils.tensorboard import SummaryWriter

from skipvae.callbacks import markdown
from skipvae.callbacks.run_logger import RunLogger, flatten, plain
from skipvae.persistence.strict_yaml import dump_text

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def take_pictures(trainer: Trainer) -> bool:
    """Whether one of the loggers takes pictures and text; a file of numbers, or no logger at all, does not."""
    return any(isinstance(logger, (TensorBoardLogger, WandbLogger, MLFlowLogger)) for logger in trainer.loggers)


def summary_writers(trainer: Trainer) -> list[SummaryWriter]:
    """The writers of TensorBoard, for histograms and for points in its projector, which no other logger has."""
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def write_picture(trainer: Trainer, name: str, pixels: Pixels, step: int) -> None:
    """Hands a picture to every logger that takes one; to be called in the process that writes.

    Args:
        trainer: whose loggers they are.
        name: such as `images/samples`.
        pixels: (height, width, 3).
        step: of the training.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, pixels, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [Image.fromarray(pixels)], step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, pixels, key=name, step=step)


def write_table(
    trainer: Trainer, name: str, header: Sequence[str], rows: Iterable[Sequence[str]], step: int, notes: str = ""
) -> None:
    """Hands a table of texts to every logger that takes text; to be called in the process that writes.

    Args:
        trainer: whose loggers they are.
        name: such as `text/samples`.
        header: names of the columns.
        rows: a text for each column.
        step: of the training.
        notes: text above the table, where a logger has a place for it.
    """
    cells = [list(row) for row in rows]
    text = "\n\n".join(part for part in (notes, markdown.table(header, cells)) if part)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(name, text, step)
        elif isinstance(logger, WandbLogger):
            logger.log_text(name, list(header), cells, step=step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_text(logger.run_id, text, f"{name}/step_{step:07}.md")


def write_settings(trainer: Trainer, settings: dict[str, Any]) -> None:
    """Hands the settings of a run to every logger, once, flat under the names of the command line: see `flatten`.

    Args:
        trainer: whose loggers they are.
        settings: nested as in a config.
    """
    flat = flatten(settings)
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            logger.log_hyperparams(settings)  # shows them as a config, too
        elif isinstance(logger, MLFlowLogger):
            # MLflow refuses to change a parameter, and a resumed run may have another max_epochs; it cuts long values.
            known = logger.experiment.get_run(logger.run_id).data.params
            logger.log_hyperparams({name: value for name, value in flat.items() if name not in known})
            logger.experiment.log_text(logger.run_id, dump_text(plain(settings)), "config.yaml")
        else:
            logger.log_hyperparams(flat)
