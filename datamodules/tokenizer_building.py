"""Tokenizers of a corpus: words, characters or byte pairs, by the library `tokenizers`."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Literal, get_args

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

Tokenization = Literal["word", "bpe", "char"]
CHARACTER = r"[\s\S]"
"""Any code point, the end of a line among them."""
Normalization = Literal["NFC", "NFD", "NFKC", "NFKD"]


def count_words(lines: Iterable[str]) -> Counter[str]:
    """How often each string between spaces occurs."""
    return Counter(" ".join(lines).split())


def symbols_of(unknown: str, max_size: int, num_bytes: int = 0) -> list[str]:
    """The special tokens; a ValueError if a vocabulary of this size has no room for others."""
    symbols = ["<pad>", unknown, "<bos>", "<eos>"]
    smallest = len(symbols) + num_bytes
    if max_size <= smallest:
        raise ValueError(f"vocab_size={max_size} must be above {smallest}: every vocabulary has that many by itself")
    return symbols


def normalizer_of(lowercase: bool, normalization: Normalization | None) -> Any:
    """The change of a text before it is cut; None if there is none.

    Raises:
        ValueError: If it is no form of Unicode.
    """
    if normalization is not None and normalization not in get_args(Normalization):
        raise ValueError(f"normalization={normalization!r} must be one of {', '.join(get_args(Normalization))}")
    parts = [getattr(normalizers, normalization)()] if normalization else []
    parts += [normalizers.Lowercase()] if lowercase else []
    return normalizers.Sequence(parts) if len(parts) > 1 else next(iter(parts), None)


def byte_pairs(lines: Iterable[str], max_size: int, unknown: str, normalizer: Any) -> Tokenizer:
    """Byte pair encoding (Sennrich et al. 2016) of bytes, in which nothing is unknown."""
    symbols = symbols_of(unknown, max_size, 256)
    tokenizer = Tokenizer(models.BPE(unk_token=unknown))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
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
    return Tokenizer.from_str(json.dumps(description))


def words(
    counts: Mapping[str, int], max_size: int, unknown: str, normalizer: Any, split_punctuation: bool = False
) -> Tokenizer:
    """The most frequent words; of those that are equally frequent, the first in Unicode's order.

    Args:
        counts: How often each string between spaces occurs.
        max_size: The most tokens.
        unknown: The symbol by which the corpus itself replaces an unknown word.
        normalizer: See `normalizer_of`.
        split_punctuation: Whether punctuation marks are words of their own.

    Raises:
        ValueError: If the corpus has unknown words, which the options would turn into known ones.
    """
    spaces = pre_tokenizers.WhitespaceSplit()
    splits = pre_tokenizers.Sequence([spaces, pre_tokenizers.Punctuation()]) if split_punctuation else spaces
    tokenizer = _of_units(splits, normalizer, unknown)

    def pieces(word: str) -> list[str]:
        normal = normalizer.normalize_str(word) if normalizer is not None else word
        return [piece for piece, _ in splits.pre_tokenize_str(normal)]

    if unknown in counts and pieces(unknown) != [unknown]:
        raise ValueError(
            f"the text writes {unknown} for unknown words, which lowercase or split_punctuation would change: "
            "set both to false"
        )
    if normalizer is not None or split_punctuation:
        normalized: Counter[str] = Counter()
        for word, count in counts.items():
            for piece in pieces(word):
                normalized[piece] += count
        counts = normalized
    return _with_units(tokenizer, counts, max_size, unknown)


def characters(lines: Iterable[str], max_size: int, unknown: str, normalizer: Any) -> Tokenizer:
    """The most frequent characters (Unicode code points), spaces among them."""
    tokenizer = _of_units(pre_tokenizers.Split(Regex(CHARACTER), "isolated"), normalizer, unknown)
    tokenizer.decoder = decoders.Fuse()
    normal = lines if normalizer is None else map(normalizer.normalize_str, lines)
    return _with_units(tokenizer, Counter(chain.from_iterable(normal)), max_size, unknown)


def _of_units(splits: Any, normalizer: Any, unknown: str) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({unknown: 0}, unk_token=unknown))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splits
    return tokenizer


def _with_units(tokenizer: Tokenizer, counts: Mapping[str, int], max_size: int, unknown: str) -> Tokenizer:
    symbols = symbols_of(unknown, max_size)
    least = min(sorted(counts.values(), reverse=True)[:max_size], default=0)
    frequent = sorted(unit for unit, count in counts.items() if count >= least and unit not in symbols)
    frequent.sort(key=counts.__getitem__, reverse=True)  # and among equals in the order of before
    known = [*symbols, *frequent][:max_size]
    tokenizer.model = models.WordLevel({unit: number for number, unit in enumerate(known)}, unk_token=unknown)
    return tokenizer
