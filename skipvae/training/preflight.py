"""Checks before training: settings of a trainer that would be ignored or do harm, and the form of the batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import StochasticWeightAveraging
from pytorch_lightning.plugins.precision import HalfPrecision
from torch import Tensor


def check_trainer(trainer: Trainer) -> None:
    """Refuses a trainer that these models cannot be trained with.

    Raises:
        ValueError: if the weights themselves would be cast to a half precision, a callback takes a larger ELBO for a
            worse one, or weights would be averaged where no checkpoint holds the average.
    """
    if isinstance(half := trainer.precision_plugin, HalfPrecision):
        raise ValueError(
            f"precision {half.precision} is not for these models, whose latent variables and likelihoods are "
            f"float32: use {half.precision.replace('true', 'mixed')}"
        )
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name = type(callback).__name__
        if str(getattr(callback, "monitor", "")).endswith("/elbo") and getattr(callback, "mode", "max") != "max":
            raise ValueError(f"{name} follows an ELBO, of which more is better: give it mode: max")
        # It puts the average into the model when training has ended, after the last validation and checkpoint.
        if isinstance(callback, StochasticWeightAveraging):
            raise ValueError(
                f"{name} changes no checkpoint and no measurement: use EMAWeightAveraging "
                "(--trainer.callbacks=EMAWeightAveraging), whose average is validated and saved"
            )


def examples_of(batch: Any) -> Tensor:
    """The examples x (B, ...) of a batch.

    Raises:
        ValueError: if the batch has another form than (x, ...).
    """
    if not (isinstance(batch, (tuple, list)) and batch and isinstance(batch[0], Tensor)):
        raise ValueError(f"a batch must be a tuple whose first entry is the tensor x, but is a {type(batch).__name__}")
    return batch[0]


@contextmanager
def naming_data(trainer: Trainer) -> Iterator[None]:
    """Puts the file or folder of the split in use before the message of a ValueError, if the data module says it."""
    try:
        yield
    except ValueError as error:
        split = "train" if trainer.training else "val" if trainer.validating or trainer.sanity_checking else "test"
        sources = getattr(getattr(trainer, "datamodule", None), "sources", None) or {}
        source = sources.get(split) or sources.get("train")
        if not isinstance(source, (str, Path)):
            raise
        raise ValueError(f"{source}: {error}") from error
