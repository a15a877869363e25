"""From text to token ids and back, by the library `tokenizers`, whose JSON format vocabularies are stored in."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

PAD, UNK, BOS, EOS = range(4)
"""Ids of the special tokens: padding, a word outside the vocabulary, beginning and end of a sentence."""

_CHUNK = 10_000  # sentences at a time: the library returns a large object for each


class Vocabulary:
    """The tokens and their ids: 0 padding, 1 unknown, 2 BOS, 3 EOS, then the others, the most frequent first.

    Args:
        tokenizer: The library's own object; use `build`, `from_json` or `load`.

    Example:
        >>> vocabulary = Vocabulary.build(["the cat", "the dog"])
        >>> vocabulary.words
        ['<pad>', '<unk>', '<bos>', '<eos>', 'the', 'cat', 'dog']
        >>> tokens, lengths = vocabulary.encode(["the dog", "the bird"])
        >>> tokens.tolist(), lengths.tolist()
        ([2, 4, 6, 3, 2, 4, 1, 3], [4, 4])
        >>> vocabulary.decode([2, 4, 6, 3, 0, 0])
        'the dog'
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.words = [word for word, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]

    def __len__(self) -> int:
        return len(self.words)

    # -- construction -----------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        lines: Sequence[str],
        max_size: int = 20_000,
        kind: Literal["word", "bpe"] = "word",
        *,
        lowercase: bool = False,
        split_punctuation: bool = False,
        unknown: str = "<unk>",
    ) -> Self:
        """The vocabulary of a corpus.

        Args:
            lines: A sentence or document each.
            max_size: Maximum size, the special tokens included.
            kind: `word`: strings between spaces; `bpe`: byte pair encoding (Sennrich et al. 2016), in which nothing is
                unknown.
            lowercase: Whether the text is lowercased.
            split_punctuation: Whether punctuation marks are words of their own.
            unknown: The symbol by which the corpus itself replaces an unknown word.

        Raises:
            ValueError: If max_size leaves no room for words, or the corpus has unknown words, which the other options
                would turn into known ones.
        """
        symbols = ["<pad>", unknown, "<bos>", "<eos>"]
        if kind not in ("word", "bpe"):
            raise ValueError(f"kind={kind!r} must be word or bpe")
        smallest = len(symbols) + (256 if kind == "bpe" else 0)
        if max_size <= smallest:
            raise ValueError(
                f"vocab_size={max_size} must be above {smallest}: every vocabulary has that many by itself"
            )
        tokenizer = Tokenizer(models.WordLevel(unk_token=unknown) if kind == "word" else models.BPE(unk_token=unknown))
        if lowercase:
            tokenizer.normalizer = normalizers.Lowercase()
        if kind == "word":
            spaces = pre_tokenizers.WhitespaceSplit()
            splits = pre_tokenizers.Sequence([spaces, pre_tokenizers.Punctuation()]) if split_punctuation else spaces
            tokenizer.pre_tokenizer = splits
            trainer = trainers.WordLevelTrainer(vocab_size=max_size, show_progress=False)
            tokenizer.train_from_iterator(lines, trainer)
            words = [*symbols, *(word for word in cls(tokenizer).words if word not in symbols)][:max_size]
            tokenizer.model = models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=unknown)
            whole = tokenizer.encode(unknown).tokens == [unknown]
            if not whole and any(unknown in line.split() for line in lines):
                raise ValueError(
                    f"the text writes {unknown} for unknown words, which lowercase or split_punctuation would change: "
                    "set both to false"
                )
            return cls(tokenizer)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokenizer.train_from_iterator(
            lines,
            trainers.BpeTrainer(
                vocab_size=max_size, initial_alphabet=alphabet, special_tokens=symbols, show_progress=False
            ),
        )
        description = json.loads(tokenizer.to_str())
        description["added_tokens"] = []  # else the library would recognise special tokens within the text
        return cls(Tokenizer.from_str(json.dumps(description)))

    # -- text and token ids -----------------------------------------------------------------------------------------

    def encode(self, lines: Sequence[str], line_numbers: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The token ids of all lines, each with BOS and EOS, one line after the other.

        Args:
            lines: A sentence or document each.
            line_numbers: The line of each in its file, counted from 0, for error messages.

        Returns:
            tokens, int32 (sum of the lengths,), and lengths, int64 (N,).

        Raises:
            ValueError: If a text holds a special token other than that of an unknown word.
        """
        tokens, lengths = [], []
        for ids in self._ids(lines):
            tokens.append(np.array([BOS, *ids, EOS], dtype=np.int32))
            lengths.append(len(ids) + 2)
        flat, ends = torch.from_numpy(np.concatenate(tokens)), torch.tensor(lengths).cumsum(0)
        special = (flat == PAD) | (flat == BOS) | (flat == EOS)
        if int(special.sum()) > 2 * len(lines):
            special[ends - 1] = special[torch.cat([ends.new_zeros(1), ends[:-1]])] = False
            position = int(special.nonzero()[0])
            row = int((ends <= position).sum())
            line = 1 + (row if line_numbers is None else int(line_numbers[row]))
            raise ValueError(
                f"line {line} contains {self.words[flat[position]]}, which is the token for padding, the beginning or "
                "the end of a sentence: remove it, each line is a sentence by itself"
            )
        return flat, torch.tensor(lengths)

    def truncate(self, texts: Sequence[str], max_length: int) -> list[str]:
        """The longest beginning of each text that has at most max_length tokens, in its original spelling.

        Example:
            >>> Vocabulary.build(["the cat"]).truncate(["The cat, the dog"], 2)
            ['The cat,']
        """
        shortened = list(texts)
        rows = list(range(len(texts)))
        while rows:  # cut within a word, a text may be encoded by more byte pairs than before: cut it again
            encodings = self._tokenizer.encode_batch([shortened[row] for row in rows])
            long = [
                (row, encoding) for row, encoding in zip(rows, encodings, strict=True) if len(encoding) > max_length
            ]
            for row, encoding in long:
                first_beyond, _ = encoding.offsets[max_length]
                shortened[row] = shortened[row][:first_beyond].rstrip()
            rows = [row for row, _ in long]
        return shortened

    def _ids(self, lines: Sequence[str]) -> Iterator[list[int]]:
        if isinstance(self._tokenizer.model, models.WordLevel):  # ten times faster: each word is encoded once
            words = list({word for line in lines for word in line.split()})
            ids = dict(zip(words, self._encode(words), strict=True))
            return ([number for word in line.split() for number in ids[word]] for line in lines)
        return self._encode(lines)

    def _encode(self, texts: Sequence[str]) -> Iterator[list[int]]:
        for start in range(0, len(texts), _CHUNK):
            for encoding in self._tokenizer.encode_batch_fast(list(texts[start : start + _CHUNK])):
                yield encoding.ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of a sentence, up to EOS."""
        body = list(tokens)
        body = body[: body.index(EOS)] if EOS in body else body
        return str(self._tokenizer.decode([token for token in body if token not in (PAD, BOS)]))

    # -- storage --------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The JSON text that `from_json` reads."""
        return str(self._tokenizer.to_str(pretty=True))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The vocabulary that `to_json` described."""
        tokenizer = Tokenizer.from_str(text)
        vocabulary = cls(tokenizer)
        if sorted(tokenizer.get_vocab().values()) != list(range(len(vocabulary))):
            raise ValueError("the ids of its words are not 0, 1, 2, ...")
        if [*vocabulary.words[:1], *vocabulary.words[2:4]] != ["<pad>", "<bos>", "<eos>"]:
            raise ValueError("its first four words are not <pad>, the unknown word, <bos> and <eos>")
        return vocabulary

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the vocabulary.json of a run.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no vocabulary.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no vocabulary {path}: take the vocabulary.json of a run's folder")
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except Exception as error:  # the library raises bare exceptions
            raise ValueError(
                f"{path} is no vocabulary of this project ({error}): take the vocabulary.json of a run's folder"
            ) from error
