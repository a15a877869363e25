"""`skipvae encode`: a file of the posteriors of the user's own inputs."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from torch import Tensor

from datamodules.inputs import Input
from skipvae.cli.code_files import CodeWriter, open_codes
from skipvae.cli.generate_options import Encode
from skipvae.cli.trained_model import encoded, load_model, own_inputs, settings_of, where
from skipvae.models import VAE
from skipvae.models.values import batches_of
from skipvae.nn.evaluation_mode import evaluation_mode
from skipvae.nn.example_noise import example_noise
from skipvae.objectives.elbo import average_weight, log_weights
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from skipvae.text.tokens import BOS, EOS, PAD, UNK
from skipvae.training.codecs import label_names_of

WINDOW = 4096
"""Inputs that are in memory together; sentences of similar length among them share a batch."""
VALUES = 1 << 24
"""The most values of them (characters, pixels, columns), once all sentences are padded to the longest one."""


def encode(options: Encode) -> None:
    """Writes the codes of all inputs to a file, one row each."""
    if not options.inputs:
        raise ValueError("nothing to encode: give sentences, files, folders or - for standard input")
    model: VAE = load_model(options, VAE)
    inputs = own_inputs(model, options.inputs, options.ckpt_path)
    settings, names = settings_of(model, options.ckpt_path), label_names_of(model)
    number_of = {name: number for number, name in enumerate(names)}
    num_inputs = num_encoded = num_words = num_unknown = 0
    reason = ""
    screen = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("encoding"), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        open_codes(options.output) as writer,
        Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress,
    ):
        task = progress.add_task("encoding", total=None)
        for some in _windows(inputs):
            x, checked = encoded(model, some, settings)
            if x is not None and model.decoder.modality == "text":
                num_words += int(((x != PAD) & (x != BOS) & (x != EOS)).sum())
                num_unknown += int((x == UNK).sum())
            _write(writer, model, x, checked, number_of, options)
            num_inputs, num_encoded = num_inputs + len(some), num_encoded + (0 if x is None else len(x))
            reason = reason or next((f"{where(each)}: {each.reason}" for each in checked if each.value is None), "")
            progress.update(task, completed=num_inputs)
        if not num_inputs:
            raise ValueError(f"{options.inputs[0]} holds nothing to encode")
        if not num_encoded:
            raise ValueError(f"none of {num_inputs:,} inputs can be encoded, such as {reason}")
    print(f"wrote the codes of {num_encoded:,} of {num_inputs:,} inputs: {options.output}")
    if num_encoded < num_inputs:
        print(f"{num_inputs - num_encoded:,} have none, see the column reason, such as {reason}", file=sys.stderr)
    if num_unknown:
        print(f"{num_unknown / num_words:.1%} of the words are not in the vocabulary", file=sys.stderr)


def _windows(inputs: Iterable[Input]) -> Iterator[list[Input]]:
    some, largest = list[Input](), 1
    for each in inputs:
        size = len(each.value) if isinstance(each.value, str) else np.size(each.value)
        if some and (len(some) == WINDOW or (len(some) + 1) * max(largest, size) > VALUES):
            yield some
            some, largest = [], 1
        some.append(each)
        largest = max(largest, size)
    if some:
        yield some


def _write(
    writer: CodeWriter,
    model: VAE,
    x: Tensor | None,
    inputs: list[Input],
    number_of: dict[str, int],
    options: Encode,
) -> None:
    """Writes the rows of some inputs, of which those with a value have the x, (n, ...)."""
    scores = ("elbo", "log_likelihood") if options.score else ()
    size = len(inputs), model.latent_dim
    numbers: dict[str, NDArray[Any]] = {name: np.full(size, np.nan, np.float32) for name in ("mean", "std")}
    numbers |= {name: np.full(len(inputs), np.nan) for name in scores}
    usable = np.array([row for row, each in enumerate(inputs) if each.value is not None], dtype=np.int64)
    if x is not None:
        for rows, batch in batches_of(x, options.batch_size):
            posterior = _posterior(model, batch)
            values = [posterior.mean, (0.5 * posterior.logvar).exp()]
            if options.score:
                values += _scores(model, model.on_device(batch), posterior, options.score)
            for name, value in zip(numbers, values, strict=True):
                numbers[name][usable[rows.numpy()]] = value.cpu().numpy()
    labels = [number_of.get(each.label, _number(each.label)) for each in inputs]
    writer.write(
        {
            "input": [_printable(each.name) for each in inputs],
            "position": np.array([-1 if each.position is None else each.position for each in inputs]),
            "label": np.array(labels),
            "label_name": [_printable(each.label) for each in inputs],
            **numbers,
            "reason": [each.reason for each in inputs],
        }
    )


def _number(label: str) -> int:
    """The label where it is a number of 64 bits, else -1."""
    return int(label) if label.isdecimal() and len(label) < 19 else -1


def _printable(name: str) -> str:
    """The same for any file: a carriage return, or a byte of the name of a file that is not UTF-8, is escaped."""
    return name.encode("utf-8", "backslashreplace").decode().replace("\r", "\\r")


@torch.no_grad()
def _posterior(model: VAE, batch: Tensor) -> DiagonalGaussian:
    posterior = model.infer(model.on_device(batch))
    return DiagonalGaussian(posterior.mean.float(), posterior.logvar.float())


@torch.no_grad()
def _scores(model: VAE, x: Tensor, posterior: DiagonalGaussian, num_samples: int) -> tuple[Tensor, Tensor]:
    """The ELBO and the importance-weighted log-likelihood of x, (B,) each, by noise that depends on x alone."""
    noise = example_noise(x, num_samples, model.latent_dim, posterior.mean.dtype)
    with evaluation_mode(model):
        weights = log_weights(model.decoder, x, posterior, num_samples, noise=noise)
    return weights.mean(0), average_weight(weights)
