"""Sentences that `skipvae decode|sample|reconstruct|interpolate` print of a text model."""

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from skipvae.cli.generate_options import Generation
from skipvae.persistence.atomic import atomic_write
from skipvae.text.codec import TextCodec


def write_samples(model: Any, x: Tensor, output: str | None) -> None:
    """Prints sentences x (N, T) drawn from the model, one a line."""
    _write(TextCodec.of(model).decode(x), output)


def write_reconstructions(model: Any, x: Tensor, generation: Generation, output: str | None) -> None:
    """Prints sentences x (B, T), each above its reconstruction."""
    sentences = TextCodec.of(model)
    made = sentences.decode(model.reconstruct(x, **generation.sampling))
    _write([f"{given}\n  -> {text}" for given, text in zip(sentences.decode(x), made, strict=True)], output)


def write_interpolations(
    model: Any, x0: Tensor, x1: Tensor, steps: int, generation: Generation, output: str | None
) -> None:
    """Prints the interpolation from each sentence of x0 (B, T) to that of x1."""
    sentences = TextCodec.of(model)
    paths = model.interpolate(x0, x1, steps, **generation.sampling)  # (B, steps, T)
    ends = zip(sentences.decode(x0), sentences.decode(x1), strict=True)
    _write(
        [
            "\n".join([start, *(f"  {text}" for text in sentences.decode(path)), end, ""])
            for (start, end), path in zip(ends, torch.unbind(paths), strict=True)
        ],
        output,
    )


def write_decoded(sentences: Iterable[str], output: str | None) -> None:
    """Prints sentences as they come, a line each."""
    with nullcontext() if output is None else atomic_write(output) as file:
        for sentence in sentences:
            print(sentence)
            if file is not None:
                file.write(sentence + "\n")


def _write(lines: list[str], output: str | None) -> None:
    print("\n".join(lines))
    if output is not None:
        with atomic_write(output) as file:
            file.write("\n".join(lines) + "\n")
