"""Examples of the validation and test splits that also stand in the training split."""

from collections.abc import Hashable, Iterable

from pytorch_lightning.utilities import rank_zero_info


def count_duplicates(train: Iterable[Hashable], other: Iterable[Hashable]) -> tuple[int, int]:
    """How many examples of another split also stand in the training split, and how many it has.

    Example:
        >>> count_duplicates(["a", "b"], ["b", "b", "c"])
        (2, 3)
    """
    known = {hash(example) for example in train}
    found = [hash(example) in known for example in other]
    return sum(found), len(found)


def report_duplicates(train: Iterable[Hashable], val: Iterable[Hashable], test: Iterable[Hashable]) -> None:
    """Says how many there are, where there are any: a model may know them by heart."""
    known = [hash(example) for example in train]
    for split, examples in {"validation": val, "test": test}.items():
        count, total = count_duplicates(known, (hash(example) for example in examples))
        if count:
            rank_zero_info(
                f"{count:,} of {total:,} {split} examples are also in the training split: the model may know them by "
                "heart"
            )
