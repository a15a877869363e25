"""A split of a text as token ids: made from lines, and cut into batches."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from datamodules.lines import Lines
from datamodules.text_facts import NOTABLE
from datamodules.vocabulary import PAD, Vocabulary

TooLong = Literal["drop", "truncate"]


class TokenizedSplit(NamedTuple):
    """The N sentences of a split, one after the other."""

    tokens: Tensor  # int32 (sum of the lengths,)
    starts: Tensor  # int64 (N,), the index of each sentence's BOS in `tokens`
    lengths: Tensor  # int64 (N,), with BOS and EOS
    labels: Tensor  # int64 (N,); -1 where there are none
    ids: Tensor  # int64 (N,), the line of each in its file

    def batch(self, index: Tensor) -> Tensor:
        """The sentences `index` (B,), padded: int64 (B, T)."""
        lengths = self.lengths[index].unsqueeze(1)
        steps = torch.arange(int(lengths.max()))
        padding = steps >= lengths
        positions = (self.starts[index].unsqueeze(1) + steps).masked_fill_(padding, 0)
        return self.tokens[positions].long().masked_fill_(padding, PAD)


def tokenize(
    split: str,
    lines: Lines,
    vocabulary: Vocabulary,
    label_ids: Mapping[str, int],
    max_length: int,
    too_long: TooLong,
) -> tuple[TokenizedSplit, Lines, int]:
    """Encode the lines of a split; those longer than max_length are dropped or truncated, and reported.

    Args:
        split: Its name, for messages.
        lines: Its lines.
        vocabulary: The vocabulary to encode them with.
        label_ids: The id of each label.
        max_length: The most tokens of a sentence, without BOS and EOS.
        too_long: What is done about longer ones.

    Returns:
        The split, the lines as they are used (without those dropped, the others as far as they were kept), and the
        number of lines that were too long.

    Raises:
        ValueError: If a line holds a special token, or no line is left.
    """
    tokens, lengths = _encode(split, lines, vocabulary)
    long = lengths > max_length + 2
    if long.any():
        _report(split, long, max_length, too_long)
        if too_long == "truncate":
            lines = _truncated(lines, long, vocabulary, max_length)
        elif long.all():
            raise ValueError(
                f"{split} split: no sentence has at most max_length={max_length} words: raise it, or set too_long to "
                "truncate"
            )
        else:
            lines = lines.take((~long).nonzero().squeeze(1))
        tokens, lengths = _encode(split, lines, vocabulary)
    labels = torch.full_like(lengths, -1)
    if lines.labels is not None:
        labels = torch.tensor([label_ids[label] for label in lines.labels])
    ids = torch.arange(len(lengths)) if lines.line_numbers is None else lines.line_numbers
    return TokenizedSplit(tokens, lengths.cumsum(0) - lengths, lengths, labels, ids), lines, int(long.sum())


def _encode(split: str, lines: Lines, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    try:
        return vocabulary.encode(lines.texts, lines.line_numbers)
    except ValueError as error:
        raise ValueError(f"{split} split: {error}") from error


def _report(split: str, long: Tensor, max_length: int, too_long: TooLong) -> None:
    number, total = int(long.sum()), len(long)
    report = rank_zero_warn if number > NOTABLE * total else rank_zero_info
    report(
        f"{split} split: {number} of {total} sentences are longer than max_length={max_length} and "
        f"{'cut there' if too_long == 'truncate' else 'left out'} ({number / total:.1%})"
        f"{'' if too_long == 'truncate' else '; too_long=truncate would keep their beginnings'}"
    )


def _truncated(lines: Lines, long: Tensor, vocabulary: Vocabulary, max_length: int) -> Lines:
    """The lines, with only the beginnings of the long ones; long is bool (N,)."""
    texts = list(lines.texts)
    rows = long.nonzero().squeeze(1).tolist()
    for row, text in zip(rows, vocabulary.truncate([texts[row] for row in rows], max_length), strict=True):
        texts[row] = text
    return lines._replace(texts=texts)
