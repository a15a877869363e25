"""Examples of the validation and test splits that are also in the training split."""

from collections.abc import Hashable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_info

Hashes = NDArray[np.int64]


def hashes_of(examples: Iterable[Hashable]) -> Hashes:
    """A hash of the content of each example, the same within this process."""
    return np.fromiter(map(hash, examples), np.int64)


def duplicate_fractions(train: Hashes, val: Hashes, test: Hashes) -> dict[str, float]:
    """The fractions of the validation and test examples that are also in the training split.

    Args:
        train: A hash of the content of each training example.
        val: The same of each validation example.
        test: The same of each test example.

    Example:
        >>> duplicate_fractions(*map(hashes_of, (["a", "b"], ["c"], ["b", "b", "c", "d"])))
        {'val': 0.0, 'test': 0.5}
    """
    known = np.append(np.sort(train), 0)  # with an end, which is never compared with
    fractions = {}
    for split, examples in {"val": val, "test": test}.items():
        positions = np.searchsorted(known[:-1], examples)
        duplicates = (known[positions] == examples) & (positions < len(train))
        fractions[split] = int(duplicates.sum()) / max(1, len(examples))
    return fractions


def report_duplicates(split_facts: Mapping[str, Mapping[str, float]]) -> None:
    """Say how many examples of each split are also in the training split, if there are any."""
    for split, facts in split_facts.items():
        total = int(facts["num_examples"])
        count = round(facts.get("duplicate_fraction", 0) * total)
        if count:
            rank_zero_info(
                f"{split} split: {count:,} of {total:,} examples are also in the training split: the model may have "
                "memorised them"
            )
