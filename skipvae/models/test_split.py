"""Examples of the test split, for the commands and reports that show some."""

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
    batches: list[tuple[Tensor, ...]] = []
    count = 0
    for batch in data.test_dataloader():
        batches.append(batch)
        count += len(batch[0])
        if num is not None and count >= num:
            break
    if not batches:
        raise ValueError("the test split of the data is empty")
    inputs = [batch[0] for batch in batches]
    of_text = inputs[0].dim() == 2 and not inputs[0].is_floating_point()
    x = pad_sentences(inputs) if of_text else torch.cat(inputs)
    labels = [batch[1] for batch in batches if len(batch) > 1 and isinstance(batch[1], Tensor)]
    return Examples(x[:num], torch.cat(labels)[:num] if labels else None)
