"""Sentences as people write them: to and from the numbers of a model, by the vocabulary that it was trained with."""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from skipvae.persistence.checkpoint import SPEC_KEY
from skipvae.text.tokens import BOS, EOS, PAD, UNK, pad_sentences


class Sentences:
    """Text to tokens and back.

    Args:
        vocabulary: in the JSON format of the library `tokenizers`, as a checkpoint keeps it.

    Example:
        >>> from tokenizers.models import WordLevel
        >>> words = {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3, "light": 4}
        >>> sentences = Sentences(Tokenizer(WordLevel(words, unk_token="<unk>")).to_str())
        >>> tokens = sentences.encode(["light"])
        >>> tokens, sentences.decode(tokens)
        (tensor([[2, 4, 3]]), ['light'])
    """

    def __init__(self, vocabulary: str) -> None:
        self._tokenizer = _tokenizer(vocabulary)

    @classmethod
    def of(cls, model: Any) -> "Sentences":
        """Those of a model.

        Raises:
            ValueError: if it was trained without a vocabulary.
        """
        if model.vocabulary is None:
            raise ValueError(
                "this model knows numbers only: it was trained on a data module without a vocabulary, which a data "
                "module tells by an attribute `vocabulary` with a method `to_json`"
            )
        return cls(model.vocabulary)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Tokens (B, T), padded; words outside the vocabulary become the unknown word, so ask for `unknown` first.

        Raises:
            ValueError: if a text holds the symbol for a beginning, an end or a pad.
        """
        numbers = [self._tokenizer.encode(text).ids for text in texts]
        for symbol in {number for row in numbers for number in row} & {PAD, BOS, EOS}:
            word = self._tokenizer.id_to_token(symbol)
            raise ValueError(f"{word} is the symbol for a beginning, an end or a pad: take it out of the sentence")
        return pad_sentences([torch.tensor([[BOS, *row, EOS]]) for row in numbers])

    def unknown(self, text: str) -> list[str]:
        """The words of a text that are outside the vocabulary."""
        encoding = self._tokenizer.encode(text)
        places = [place for number, place in zip(encoding.ids, encoding.offsets, strict=True) if number == UNK]
        words = dict.fromkeys(text[start:end] for start, end in places)
        return [word for word in words if word != self._tokenizer.id_to_token(UNK)]

    def decode(self, tokens: Tensor) -> list[str]:
        """The text of each row of tokens (B, T), up to its end symbol."""
        rows = []
        for row in tokens.tolist():
            body = row[: row.index(EOS)] if EOS in row else row
            rows.append(str(self._tokenizer.decode([token for token in body if token not in (PAD, BOS)])))
        return rows


def _tokenizer(vocabulary: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(vocabulary)
    except Exception as error:  # the library raises bare exceptions
        raise ValueError(f"the vocabulary cannot be read ({error}): the checkpoint is damaged") from error


def vocabulary_of(data: Any) -> str | None:
    """The vocabulary of a data module, in JSON; None if it has none."""
    vocabulary = getattr(data, "vocabulary", None)
    return None if vocabulary is None else str(vocabulary.to_json())


def vocabulary_in(checkpoint: dict[str, Any]) -> str | None:
    """The vocabulary that a checkpoint holds, in JSON; None if it holds none."""
    record = checkpoint.get(SPEC_KEY)
    vocabulary = record.get("vocabulary") if isinstance(record, dict) else None
    return vocabulary if isinstance(vocabulary, str) else None


def check_same_vocabulary(saved: str | None, here: str | None, path: object = "the checkpoint") -> None:
    """Raises a ValueError if a checkpoint and the data at hand do not number words in the same way."""
    if saved is None or here is None or saved == here:
        return
    there, ours = (_tokenizer(vocabulary).get_vocab() for vocabulary in (saved, here))
    differ = sorted(there.keys() ^ ours.keys() or {word for word in there if there[word] != ours[word]})
    example = f", such as {differ[0]!r}" if differ else ""
    raise ValueError(
        f"{path} was trained with another vocabulary than that of the data: {len(there)} words there and {len(ours)} "
        f"here, {len(differ)} of them differ{example}; has the text or its split changed? To read it with "
        "the words of the run, set data.vocab_file to the vocabulary.json of its folder"
    )
