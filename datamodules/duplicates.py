"""Examples of the validation and test splits that are also in the training split."""

from collections.abc import Hashable, Iterable

from pytorch_lightning.utilities import rank_zero_info


def duplicate_fractions(
    train: Iterable[Hashable], val: Iterable[Hashable], test: Iterable[Hashable]
) -> dict[str, float]:
    """The fractions of the validation and test examples that are also in the training split; reported if above 0.

    Args:
        train: The content of each training example.
        val: The content of each validation example.
        test: The content of each test example.

    Example:
        >>> duplicate_fractions(["a", "b"], ["c"], ["b", "b", "c", "d"])
        {'val': 0.0, 'test': 0.5}
    """
    known = {hash(example) for example in train}
    fractions = {}
    for split, examples in {"val": val, "test": test}.items():
        duplicates = [hash(example) in known for example in examples]
        count, total = sum(duplicates), len(duplicates)
        fractions[split] = count / max(1, total)
        if count:
            rank_zero_info(
                f"{split} split: {count:,} of {total:,} examples are also in the training split: the model may have "
                "memorised them"
            )
    return fractions
