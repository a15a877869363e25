"""The meaning of x that a data module knows, in the checkpoints of its models.

A data module offers it as an attribute with a method `to_json`: `vocabulary` (text), `columns` (tables) or `pictures`
(images); and as `label_names`, a list of the names of its labels. A model keeps the JSON text in `codecs`, by the same
name, and so a checkpoint alone takes sentences, rows in their units and pictures of any size.
"""

import json
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from skipvae.images.codec import ImageCodec
from skipvae.persistence.checkpoint import SPEC_KEY
from skipvae.table.codec import TableCodec, check_same_columns
from skipvae.text.codec import TextCodec, check_same_vocabulary

KINDS: dict[str, Callable[[str, str, object], None] | None] = {
    "vocabulary": check_same_vocabulary,
    "columns": check_same_columns,
    "pictures": None,  # a model may be measured on pictures that were cut otherwise
    "label_names": None,
}
"""The name of each kind, and the function that refuses two that differ."""


class Codec(Protocol):
    """Between values as people have them (sentences, rows in the units of a table, images) and x."""

    def encode(self, values: Any) -> Tensor:
        """The x of N values, (N, ...)."""

    def decode(self, x: Tensor) -> Any:
        """The values of x (N, ...)."""


def codec_of(model: Any) -> Codec:
    """The codec of a model's kind of data.

    Raises:
        ValueError: if there is none: a model of another kind, or one of text that was trained without a vocabulary.
    """
    codecs: dict[str, Any] = {"text": TextCodec, "table": TableCodec, "image": ImageCodec}
    if model.decoder.modality not in codecs:
        raise ValueError(f"{type(model.decoder).__name__} is not of text, images or tables: give the model tensors x")
    codec: Codec = codecs[model.decoder.modality].of(model)
    return codec


def label_names_of(model: Any) -> list[str]:
    """The name of each label of the data that a model was trained on; empty where there are none."""
    return list(json.loads(model.codecs.get("label_names", "[]")))


def codecs_of(data: Any) -> dict[str, str]:
    """The meanings of x that a data module offers, in JSON.

    Example:
        >>> codecs_of(None)
        {}
    """
    found = {name: getattr(getattr(data, name, None), "to_json", None) for name in KINDS}
    codecs = {name: str(to_json()) for name, to_json in found.items() if to_json is not None}
    label_names = list(getattr(data, "label_names", None) or ())
    return codecs | ({"label_names": json.dumps(label_names, ensure_ascii=False)} if label_names else {})


def codecs_in(checkpoint: dict[str, Any]) -> dict[str, str]:
    """The meanings of x in a checkpoint, in JSON."""
    record = checkpoint.get(SPEC_KEY)
    found = {name: record.get(name) if isinstance(record, dict) else None for name in KINDS}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def check_same_codecs(saved: dict[str, str], here: dict[str, str], path: object = "the checkpoint") -> None:
    """Raises a ValueError if a checkpoint and the data give x different meanings."""
    for name in saved.keys() & here.keys():
        check = KINDS[name]
        if saved[name] != here[name] and check is not None:
            check(saved[name], here[name], path)
