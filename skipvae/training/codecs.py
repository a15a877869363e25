"""The meaning of x that a data module knows, in the checkpoints of its models: a vocabulary, or columns of a table.

A data module offers it as an attribute `vocabulary` or `columns` with a method `to_json`; a model keeps the JSON text
in `codecs`, by the same name.
"""

from typing import Any

from skipvae.persistence.checkpoint import SPEC_KEY
from skipvae.table.codec import check_same_columns
from skipvae.text.codec import check_same_vocabulary

CHECKS = {"vocabulary": check_same_vocabulary, "columns": check_same_columns}
"""The name of each kind, and the function that refuses two that differ."""


def codecs_of(data: Any) -> dict[str, str]:
    """What a data module offers, in JSON.

    Example:
        >>> codecs_of(None)
        {}
    """
    found = {name: getattr(getattr(data, name, None), "to_json", None) for name in CHECKS}
    return {name: str(to_json()) for name, to_json in found.items() if to_json is not None}


def codecs_in(checkpoint: dict[str, Any]) -> dict[str, str]:
    """What a checkpoint holds, in JSON."""
    record = checkpoint.get(SPEC_KEY)
    found = {name: record.get(name) if isinstance(record, dict) else None for name in CHECKS}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def check_same_codecs(saved: dict[str, str], here: dict[str, str], path: object = "the checkpoint") -> None:
    """Raises a ValueError if a checkpoint and the data give x different meanings."""
    for name in saved.keys() & here.keys():
        if saved[name] != here[name]:
            CHECKS[name](saved[name], here[name], path)
