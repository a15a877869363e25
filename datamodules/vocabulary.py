"""From text to token ids and back, by the library `tokenizers`, whose JSON format vocabularies are stored in."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from datamodules.adopted_tokenizer import adopted
from datamodules.piece_encoder import BOS, EOS, PAD, PieceEncoder
from datamodules.tokenizer_building import (
    Normalization,
    Tokenization,
    byte_pairs,
    characters,
    count_words,
    normalizer_of,
    words,
)


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
        self._encoder = PieceEncoder(tokenizer)

    def __len__(self) -> int:
        return len(self.words)

    # -- construction -----------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        lines: Iterable[str],
        max_size: int = 20_000,
        kind: Tokenization = "word",
        *,
        lowercase: bool = False,
        split_punctuation: bool = False,
        unknown: str = "<unk>",
        normalization: Normalization | None = None,
    ) -> Self:
        """The vocabulary of a corpus, whatever the order of its lines.

        Args:
            lines: A sentence or document each; read once.
            max_size: Maximum size, the special tokens included.
            kind: `word`: strings between spaces; `char`: characters; `bpe`: byte pair encoding (Sennrich et al. 2016),
                in which nothing is unknown.
            lowercase: Whether the text is lowercased.
            split_punctuation: Whether punctuation marks are words of their own.
            unknown: The symbol by which the corpus itself replaces an unknown word.
            normalization: The form of Unicode that the text is brought to.

        Raises:
            ValueError: If max_size leaves no room for words, or the corpus has unknown words, which the other options
                would turn into known ones.
        """
        if kind == "word":
            return cls.of_words(count_words(lines), max_size, lowercase, split_punctuation, unknown, normalization)
        if kind not in ("bpe", "char"):
            raise ValueError(f"kind={kind!r} must be one of word, bpe, char")
        build = byte_pairs if kind == "bpe" else characters
        return cls(build(lines, max_size, unknown, normalizer_of(lowercase, normalization)))

    @classmethod
    def of_words(
        cls,
        counts: Mapping[str, int],
        max_size: int = 20_000,
        lowercase: bool = False,
        split_punctuation: bool = False,
        unknown: str = "<unk>",
        normalization: Normalization | None = None,
    ) -> Self:
        """The vocabulary of the most frequent words.

        Args:
            counts: How often each string between spaces occurs.
            max_size: See `build`, also for the other arguments and what is raised.
            lowercase: See `build`.
            split_punctuation: See `build`.
            unknown: See `build`.
            normalization: See `build`.
        """
        return cls(words(counts, max_size, unknown, normalizer_of(lowercase, normalization), split_punctuation))

    # -- text and token ids -----------------------------------------------------------------------------------------

    def encode(
        self, lines: Sequence[str], line_numbers: Sequence[int] | NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The token ids of all lines, each with BOS and EOS, one line after the other.

        Args:
            lines: A sentence or document each.
            line_numbers: The line of each in its file, counted from 0, for error messages.

        Returns:
            tokens, int32 (sum of the lengths,), and lengths, int64 (N,).

        Raises:
            ValueError: If a text holds a special token other than that of an unknown word.
        """
        body, lengths = self._encoder.ids(lines)
        special = (body == PAD) | (body == BOS) | (body == EOS)
        if special.any():
            position = int(special.argmax())
            row = int(np.searchsorted(lengths.cumsum(), position, side="right"))
            line = 1 + (row if line_numbers is None else int(line_numbers[row]))
            raise ValueError(
                f"line {line} contains {self.words[body[position]]}, which is the token for padding, the beginning or "
                "the end of a sentence: remove it, each line is a sentence by itself"
            )
        lengths = lengths + 2
        ends = lengths.cumsum()
        tokens = np.empty(int(lengths.sum()), dtype=np.int32)
        inside = np.ones(len(tokens), dtype=bool)
        for positions, symbol in ((ends - lengths, BOS), (ends - 1, EOS)):
            tokens[positions], inside[positions] = symbol, False
        tokens[inside] = body
        return tokens, lengths

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
    def adopt(cls, path: str | Path) -> Self:
        """The vocabulary of a tokenizer.json of any library, see `datamodules.adopted_tokenizer`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no tokenizer.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no tokenizer {path}: give a tokenizer.json")
        try:
            return cls.from_json(adopted(Path(path).read_text(encoding="utf-8")))
        except Exception as error:  # the library raises bare exceptions
            raise ValueError(f"{path} cannot be used as a tokenizer: {error}") from error

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
