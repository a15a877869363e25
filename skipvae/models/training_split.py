"""Examples of the training split: for a test, which fits classifiers of the posterior means on them, and to show."""

from collections.abc import Iterator
from copy import copy
from typing import Any

import torch
from pytorch_lightning import LightningDataModule, Trainer
from torch import Tensor

from skipvae.models.test_split import Examples, first_of


class NoTrainingExamplesError(Exception):
    """There are none; the message is the reason."""


def labelled_training_batches(trainer: Trainer, max_examples: int) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's part of a seeded subset of the training split, (x, label) by (x, label), on its device.

    They come from the data module as for training, in the order of a first epoch, so that any data module will do; a
    loader that shuffles by torch's generator shuffles alike in every test.

    Args:
        trainer: of the test.
        max_examples: of all processes together, at most; `limit_train_batches` holds as well.

    Raises:
        NoTrainingExamplesError: if there is no training split, or it has no labels.
    """
    if not max_examples:
        raise NoTrainingExamplesError("max_probe_examples is 0")
    limit = trainer.limit_train_batches
    if not limit:
        raise NoTrainingExamplesError("limit_train_batches is 0")
    data: Any = copy(getattr(trainer, "datamodule", None))  # the original keeps its position in the training data
    if data is None:
        raise NoTrainingExamplesError("there is no data module, and so no training split to fit a classifier on")
    try:
        data.setup("fit")
        loader = data.train_dataloader()
    except Exception as error:  # of code that is not ours, and no reason to lose a test
        raise NoTrainingExamplesError(f"the training split cannot be read ({error})") from error
    max_batches = int(limit * len(loader)) if isinstance(limit, float) and limit < 1 else limit
    remaining = -(-max_examples // trainer.world_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for index, batch in enumerate(loader):
            if remaining <= 0 or (not isinstance(max_batches, float) and index >= max_batches):
                return
            if not (isinstance(batch, (tuple, list)) and len(batch) > 1 and isinstance(batch[1], Tensor)):
                raise NoTrainingExamplesError("the training batches have no labels as their second entry")
            batch = trainer.precision_plugin.convert_input(batch)
            x, label = trainer.strategy.batch_to_device(batch)[:2]
            yield x[:remaining], label[:remaining]
            remaining -= len(label)


def first_training_examples(data: LightningDataModule, num: int) -> Examples:
    """The first examples of the training split of a data module, at most num, in the order of a first epoch.

    Raises:
        ValueError: if the split is empty.
    """
    data.prepare_data()
    data.setup("fit")
    return first_of(data.train_dataloader(), num, "training")
