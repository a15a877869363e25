"""The trained model that a command names, and the user's own inputs for it."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningDataModule, seed_everything
from torch import Tensor

from datamodules.inputs import Input, read_inputs
from datamodules.pictures import Format
from skipvae.cli.generate_options import Command
from skipvae.images.codec import ImageCodec
from skipvae.models import GenerativeModel
from skipvae.models.loading import load
from skipvae.models.values import x_of
from skipvae.persistence import saved_runs
from skipvae.persistence.atomic import check_output
from skipvae.table.codec import TableCodec
from skipvae.text.codec import TextCodec
from skipvae.text.tokens import EOS, PAD, lengths


def load_model(options: Command, kind: type[Any]) -> Any:
    """The model, on the device asked for, with the seed set.

    Raises:
        ValueError: if the device cannot be used, or the model is of another kind, without latent variables.
    """
    seed_everything(getattr(options, "seed", 1), verbose=False)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"the device {device} cannot be used here: take cpu or auto") from error
    _check_is_no_input(options)
    path = saved_runs.checkpoint_at(options.ckpt_path)
    if options.ckpt_path != str(path):
        print(f"{options.ckpt_path}: {path}", file=sys.stderr)  # text models print their sentences to stdout
    model: GenerativeModel = load(path, device)
    if not isinstance(model, kind):
        raise ValueError(
            f"{path} holds a model without latent variables ({type(model).__name__}): it can only be sampled from"
        )
    output = getattr(options, "output", None)
    if model.decoder.modality == "text" and output is not None:
        check_output(output)
    return model


def _check_is_no_input(options: Command) -> None:
    """Raises a ValueError if the output would take the place of an input."""
    output = getattr(options, "output", None)
    typed = [getattr(options, name, None) for name in ("start", "end")]
    for name in (*getattr(options, "inputs", ()), *getattr(options, "codes", ()), *typed):
        if output and name and os.path.isfile(name) and os.path.realpath(name) == os.path.realpath(output):
            raise ValueError(f"{output} is an input and cannot be the output, too: give --output another name")


def data_of(options: Any) -> LightningDataModule:
    """The data module that was given, or that of the run."""
    if options.data is not None:
        given: LightningDataModule = options.data
        return given
    return saved_runs.data_of(saved_runs.checkpoint_at(options.ckpt_path))


def own_inputs(model: Any, inputs: Sequence[str], ckpt_path: str) -> Iterator[Input]:
    """The inputs that the user typed, read as the data of the run were."""
    return read_inputs(model.decoder.modality, inputs, format_of(model), settings_of(model, ckpt_path))


def settings_of(model: Any, ckpt_path: str) -> Mapping[str, Any]:
    """The settings of the run's data; without a run folder, none but the names of the columns of a table."""
    folder = saved_runs.folder_of(saved_runs.checkpoint_at(ckpt_path))
    data = saved_runs.config_of(folder).get("data") if folder is not None else None
    settings = data.get("init_args") if isinstance(data, dict) else None
    columns = {"columns": TableCodec.of(model).names} if model.decoder.modality == "table" else {}
    return {**(settings or {}), **columns}


def format_of(model: Any) -> Format | None:
    """How a picture file becomes an array, for models of images; those of old checkpoints are cropped, on white."""
    if model.decoder.modality != "image":
        return None
    codec = ImageCodec.of(model)
    channels, height, width = codec.image_shape
    if channels not in (1, 3):
        raise ValueError(f"a picture has 1 or 3 channels, but the model is of {channels}: give a file of arrays")
    fit, background = codec.settings.get("fit", "crop"), codec.settings.get("background", 255)
    return Format(height, width, channels == 3, fit, background)


def encoded(model: Any, inputs: Sequence[Input], settings: Mapping[str, Any]) -> tuple[Tensor | None, list[Input]]:
    """The x of those inputs that can be used, (n, ...) or None, and all inputs with the reason of each other one."""
    rows = [row for row, each in enumerate(inputs) if each.value is not None]
    checked, good = list(inputs), rows
    try:
        x = x_of(model, [inputs[row].value for row in rows]) if rows else None
    except ValueError:  # of which of them?
        good = []
        for row in rows:
            try:
                x_of(model, [inputs[row].value])
                good.append(row)
            except ValueError as error:
                checked[row] = inputs[row]._replace(value=None, reason=str(error))
        x = x_of(model, [inputs[row].value for row in good]) if good else None
    if x is not None and model.decoder.modality == "text":
        kept = _not_too_long(x, checked, good, settings)
        x = x[kept] if kept else None
    return x, checked


def read_all(model: Any, inputs: Sequence[str], ckpt_path: str, whole: bool = False) -> Tensor:
    """The x of all inputs that the user typed, (N, ...), on the model's device; says which cannot be used, and why.

    Args:
        model: the model.
        inputs: what was typed.
        ckpt_path: of the model.
        whole: whether an input that cannot be used is an error, as where they are paired.

    Raises:
        ValueError: if none can be used, or not all where they have to.
    """
    x, checked = encoded(model, list(own_inputs(model, inputs, ckpt_path)), settings_of(model, ckpt_path))
    unusable = [each for each in checked if each.value is None]
    if unusable and (whole or len(checked) == 1):
        raise ValueError(f"{where(unusable[0])} cannot be used: {unusable[0].reason}")
    for each in unusable[:10]:
        print(f"left out: {where(each)}: {each.reason}", file=sys.stderr)
    if len(unusable) > 10:
        print(f"left out: {len(unusable) - 10} more", file=sys.stderr)
    if x is None:
        raise ValueError(f"nothing to use in {', '.join(inputs[:3])}: give inputs as the model was trained on")
    if model.decoder.modality == "text":
        _print_unknown(model, [each.value for each in checked if each.value is not None])
    return x.to(model.device)


def _print_unknown(model: Any, sentences: Sequence[str]) -> None:
    """Prints the words outside the vocabulary to standard error."""
    codec = TextCodec.of(model)
    words = list(dict.fromkeys(word for sentence in sentences for word in codec.unknown(sentence)))
    if words:
        shown = ", ".join(words[:20]) + (f" and {len(words) - 20} more" if len(words) > 20 else "")
        print(f"not in the vocabulary, read as the unknown word: {shown}", file=sys.stderr)


def where(each: Input) -> str:
    """The name and the position of an input, for messages."""
    name = each.name or "''"
    return name if each.position is None else f"{name}, {each.position}"


def _not_too_long(x: Tensor, inputs: list[Input], rows: list[int], settings: Mapping[str, Any]) -> list[int]:
    """Treats sentences beyond the run's max_length as the run did: cuts them in x, or gives the reason; those kept."""
    max_length = int(settings.get("max_length") or x.shape[1])
    long = lengths(x) > max_length + 2
    if settings.get("too_long") == "truncate" and long.any():
        x[:, max_length + 1 :][long] = PAD
        x[long, max_length + 1] = EOS
        return list(range(len(x)))
    for place in long.nonzero().squeeze(1).tolist():
        reason = f"{int(lengths(x[place : place + 1])) - 2} tokens, and max_length is {max_length}"
        inputs[rows[place]] = inputs[rows[place]]._replace(value=None, reason=reason)
    return (~long).nonzero().squeeze(1).tolist()
