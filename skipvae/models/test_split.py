"""Examples of the test split, for the commands and reports that show some."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from skipvae.text.tokens import pad_sentences


class Examples(NamedTuple):
    """Examples of a split: x (N, ...), and labels (N,) if the data has labels."""

    x: Tensor
    label: Tensor | None


def first_test_examples(data: LightningDataModule, num: int | None = None) -> Examples:
    """The first examples of the test split of a data module, in the order of its batches.

    Args:
        data: the data module.
        num: the maximum number of examples; all when not given.

    Raises:
        ValueError: if the split is empty.
    """
    data.prepare_data()
    data.setup("test")
    return first_of(data.test_dataloader(), num, "test")


def first_of(loader: Iterable[tuple[Tensor, ...]], num: int | None, split: str) -> Examples:
    """The first examples of a loader, at most num; all when not given.

    Raises:
        ValueError: if it has none; the message names the split.
    """
    batches: list[tuple[Tensor, ...]] = []
    count = 0
    for batch in loader:
        batches.append(batch)
        count += len(batch[0])
        if num is not None and count >= num:
            break
    if not batches:
        raise ValueError(f"the {split} split of the data is empty")
    inputs = [batch[0] for batch in batches]
    of_text = inputs[0].dim() == 2 and not inputs[0].is_floating_point()
    x = pad_sentences(inputs) if of_text else torch.cat(inputs)
    labels = [batch[1] for batch in batches if len(batch) > 1 and isinstance(batch[1], Tensor)]
    return Examples(x[:num], torch.cat(labels)[:num] if labels else None)
