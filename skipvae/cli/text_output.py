"""What `skipvae sample|reconstruct|interpolate` do with a text model: they print sentences."""

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skipvae.models import GenerativeModel
from skipvae.persistence.atomic import atomic_write
from skipvae.text.codec import Sentences


@dataclass(frozen=True)
class Generation:
    """How a text model chooses its words. Without any of the first four: samples are drawn as they are, and
    reconstructions and interpolations take the likeliest next word.

    Args:
        temperature: Divides the logits; 0 takes the likeliest next word. For text.
        top_k: Draws among the so many likeliest words only. For text.
        top_p: Draws among the fewest words that hold this probability together. For text.
        num_beams: Searches for the likeliest sentence with so many beams, instead of drawing one. For text.
        max_length: Words of a sentence at most (60 by default). For text.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    num_beams: int | None = None
    max_length: int | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def options(self) -> dict[str, Any]:
        """The options of `LSTMDecoder.sample`."""
        return {"max_length": 60, **self.given}

    def refuse_for_images(self) -> None:
        """Raises a ValueError if an option was given that only text models have."""
        for name in self.given:
            raise ValueError(f"{name} is an option for text, but this is not a model of text: leave it out")


def is_text(model: GenerativeModel) -> bool:
    """Whether a model's examples are sentences."""
    return hasattr(model.decoder, "vocab_size")


def read_sentences(model: GenerativeModel, texts: list[str]) -> Tensor:
    """A user's sentences as tokens (B, T); names the words that the model does not know, on standard error.

    Raises:
        ValueError: if a sentence has no words.
    """
    sentences = Sentences.of(model)
    for text in texts:
        if not text.strip():
            raise ValueError("a sentence is empty: give it at least one word")
        unknown = sentences.unknown(text)
        if unknown:
            print(f"not in the vocabulary, read as the unknown word: {', '.join(unknown)}", file=sys.stderr)
    return sentences.encode(texts).to(model.device)


def write_samples(model: Any, num: int, generation: Generation, output: str | None) -> None:
    """Prints sentences drawn from the model, one a line."""
    _write(Sentences.of(model).decode(model.sample(num, **generation.options)), output)


def write_reconstructions(model: Any, x: Tensor, generation: Generation, output: str | None) -> None:
    """Prints sentences x (B, T), each above its reconstruction."""
    sentences = Sentences.of(model)
    made = sentences.decode(model.reconstruct(x, **generation.options))
    _write([f"{given}\n  -> {text}" for given, text in zip(sentences.decode(x), made, strict=True)], output)


def write_interpolations(
    model: Any, x0: Tensor, x1: Tensor, steps: int, generation: Generation, output: str | None
) -> None:
    """Prints the way from each sentence of x0 (B, T) to that of x1."""
    sentences = Sentences.of(model)
    paths = model.interpolate(x0, x1, steps, **generation.options)  # (B, steps, T)
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
