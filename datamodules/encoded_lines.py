"""Lines of text as token ids, with what is counted of them: the part of the preparation that runs in parallel.

Nothing here imports torch: a process that only encodes text starts in a moment.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.piece_encoder import UNK
from datamodules.vocabulary import Vocabulary

TooLong = Literal["drop", "truncate"]


class EncodedLines(NamedTuple):
    """Token ids of the n lines that are used.

    Attributes:
        tokens: int32 (sum of the lengths,), one line after the other.
        rows: int64 (n,), their indices among the lines that were given.
        lengths: int64 (n,), with BOS and EOS.
        hashes: int64 (n,), a hash of the text of each as far as it is used.
        counts: What was counted: lines that are `long`, and of the lines that are used the `tokens` (without BOS and
            EOS), `unknown` ones among them, `words` (strings between spaces), `characters` (Unicode code points) and
            `bytes` (UTF-8) of the original text, in which the end of a line counts as one.
    """

    tokens: NDArray[np.int32]
    rows: NDArray[np.int64]
    lengths: NDArray[np.int64]
    hashes: NDArray[np.int64]
    counts: Counter[str]


def encode_lines(
    vocabulary_file: Path,
    split: str,
    texts: Sequence[str],
    line_numbers: NDArray[np.int64],
    max_length: int | None,
    too_long: TooLong,
) -> EncodedLines:
    """Encode lines; those longer than max_length are dropped or truncated.

    Args:
        vocabulary_file: The vocabulary to encode them with.
        split: The name of their split, for messages.
        texts: Their text.
        line_numbers: The line of each in its file, counted from 0, for messages.
        max_length: The most tokens of a line, without BOS and EOS; None for any number.
        too_long: What is done about longer ones.

    Raises:
        ValueError: If a line holds a special token.
    """
    vocabulary = _vocabulary(vocabulary_file)
    try:
        tokens, lengths = vocabulary.encode(texts, line_numbers)
    except ValueError as error:
        raise ValueError(f"{split} split: {error}") from error
    long = np.zeros(len(texts), bool) if max_length is None else lengths > max_length + 2
    rows = np.arange(len(texts))
    if max_length is not None and long.any() and too_long == "truncate":
        texts = list(texts)
        cut = rows[long].tolist()
        for row, text in zip(cut, vocabulary.truncate([texts[row] for row in cut], max_length), strict=True):
            texts[row] = text
        tokens, lengths = vocabulary.encode(texts, line_numbers)
    elif long.any():
        tokens, lengths, rows = tokens[np.repeat(~long, lengths)], lengths[~long], rows[~long]
        texts = list(compress(texts, ~long))
    counts = Counter(
        long=int(long.sum()),
        tokens=len(tokens) - 2 * len(texts),
        unknown=int((tokens == UNK).sum()),
        words=len(texts) + len(" ".join(texts).split()),
        characters=len(texts) + sum(map(len, texts)),
        bytes=len(texts) + len("".join(texts).encode()),
    )
    return EncodedLines(tokens, rows, lengths, np.fromiter(map(hash, texts), np.int64, len(texts)), counts)


@lru_cache(maxsize=1)
def _vocabulary(path: Path) -> Vocabulary:
    return Vocabulary.load(path)
