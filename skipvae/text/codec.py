"""The codec between sentences as people write them and token ids, by the vocabulary of a model."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from skipvae.text.tokens import BOS, EOS, PAD, UNK


class TextCodec:
    """Sentences to token ids and back.

    Args:
        vocabulary: in the JSON format of the library `tokenizers`, as it is kept in checkpoints.

    Raises:
        ValueError: if the vocabulary cannot be read.

    Example:
        >>> from tokenizers.models import WordLevel
        >>> words = {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3, "light": 4}
        >>> codec = TextCodec(Tokenizer(WordLevel(words, unk_token="<unk>")).to_str())
        >>> tokens = codec.encode(["light"])
        >>> tokens, codec.decode(tokens)
        (tensor([[2, 4, 3]]), ['light'])
    """

    def __init__(self, vocabulary: str) -> None:
        self._tokenizer = _tokenizer(vocabulary)

    @classmethod
    def of(cls, model: Any) -> "TextCodec":
        """The codec of a model.

        Raises:
            ValueError: if it was trained without a vocabulary.
        """
        vocabulary = model.codecs.get("vocabulary")
        if vocabulary is None:
            raise ValueError(
                "this model knows token ids only: it was trained on a data module without a vocabulary; give the data "
                "module an attribute `vocabulary` with a method `to_json`"
            )
        return cls(vocabulary)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Token ids (B, T) of B sentences, padded; words outside the vocabulary become UNK, see `unknown`.

        Raises:
            ValueError: if a sentence contains the token for padding, BOS or EOS.
        """
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        for special in {token for sentence in ids for token in sentence} & {PAD, BOS, EOS}:
            word = self._tokenizer.id_to_token(special)
            raise ValueError(f"{word} is the token for padding, beginning or end: take it out of the sentence")
        if not ids:
            return torch.zeros(0, 2, dtype=torch.int64)
        length = max(map(len, ids)) + 2
        rows = np.full((len(ids), length), PAD)
        for row, sentence in zip(rows, ids, strict=True):
            row[: len(sentence) + 2] = [BOS, *sentence, EOS]
        return torch.from_numpy(rows)

    def unknown(self, text: str) -> list[str]:
        """The words of a sentence that are outside the vocabulary."""
        encoding = self._tokenizer.encode(text)
        spans = [span for token, span in zip(encoding.ids, encoding.offsets, strict=True) if token == UNK]
        words = dict.fromkeys(text[start:end] for start, end in spans)
        return [word for word in words if word != self._tokenizer.id_to_token(UNK)]

    def decode(self, tokens: Tensor) -> list[str]:
        """The sentences of token ids (B, T), each up to its EOS."""
        rows = []
        for row in tokens.tolist():
            body = row[: row.index(EOS)] if EOS in row else row
            rows.append(str(self._tokenizer.decode([token for token in body if token not in (PAD, BOS)])))
        return rows


@lru_cache(maxsize=4)
def _tokenizer(vocabulary: str) -> Tokenizer:
    # kept: each new one would take time, and memory that the library does not give back
    try:
        return Tokenizer.from_str(vocabulary)
    except Exception as error:  # the library raises bare exceptions
        raise ValueError(f"the vocabulary cannot be read ({error}): the checkpoint is damaged") from error


def check_same_vocabulary(saved: str, here: str, path: object) -> None:
    """Raises a ValueError if the vocabularies of a checkpoint and of the data give words different ids."""
    there, ours = (_tokenizer(vocabulary).get_vocab() for vocabulary in (saved, here))
    differ = sorted(there.keys() ^ ours.keys() or {word for word in there if there[word] != ours[word]})
    example = f", such as {differ[0]!r}" if differ else ""
    raise ValueError(
        f"{path} was trained with another vocabulary than that of the data: {len(there)} words there and {len(ours)} "
        f"here, {len(differ)} of them differ{example}; has the text or its split changed? To read it with "
        "the words of the run, set data.vocab_file to the vocabulary.json of its folder"
    )
