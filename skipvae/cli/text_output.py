"""Sentences that `skipvae sample|reconstruct|interpolate` print of a text model."""

import sys
from typing import Any

import torch
from torch import Tensor

from skipvae.cli.generate_options import Generation
from skipvae.models import GenerativeModel
from skipvae.persistence.atomic import atomic_write
from skipvae.text.codec import TextCodec


def read_sentences(model: GenerativeModel, texts: list[str]) -> Tensor:
    """Sentences of the user as token ids (B, T); prints the words outside the vocabulary to standard error.

    Raises:
        ValueError: if a sentence has no words.
    """
    sentences = TextCodec.of(model)
    for text in texts:
        if not text.strip():
            raise ValueError("a sentence is empty: give it at least one word")
        unknown = sentences.unknown(text)
        if unknown:
            print(f"not in the vocabulary, read as the unknown word: {', '.join(unknown)}", file=sys.stderr)
    return sentences.encode(texts).to(model.device)


def write_samples(model: Any, num: int, generation: Generation, output: str | None) -> None:
    """Prints sentences drawn from the model, one a line."""
    _write(TextCodec.of(model).decode(model.sample(num, **generation.sampling)), output)


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


def _write(lines: list[str], output: str | None) -> None:
    print("\n".join(lines))
    if output is not None:
        with atomic_write(output) as file:
            file.write("\n".join(lines) + "\n")
