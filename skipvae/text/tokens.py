"""Sentences as token ids: int64 (B, T), each row `bos w_1 ... w_n eos pad ... pad`."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PAD, UNK, BOS, EOS = range(4)
"""Ids of the special tokens: padding, a word outside the vocabulary, beginning and end of a sentence."""


def lengths(x: Tensor) -> Tensor:
    """The number of tokens of each sentence without padding, BOS and EOS included, (B,), for x (B, T)."""
    return x.ne(PAD).sum(1)


def num_predictions(x: Tensor) -> Tensor:
    """The number of tokens that a model of x (B, T) predicts, (B,): EOS is counted, BOS is not.

    Perplexity is exp(sum of the negative log-likelihoods / sum of these).

    Example:
        >>> num_predictions(torch.tensor([[2, 7, 8, 3], [2, 7, 3, 0]]))
        tensor([3, 2])
    """
    return lengths(x[:, 1:])


def check_vocab_size(vocab_size: int | None) -> int:
    """vocab_size, or a ValueError if it is no size of a vocabulary."""
    if vocab_size is None or vocab_size < 1:
        raise ValueError(f"vocab_size must be at least 1, not {vocab_size}: does this data set hold text?")
    return vocab_size


def check_tokens(x: Tensor, vocab_size: int) -> None:
    """Raises a ValueError unless x is a batch of sentences over a vocabulary of this size.

    The values of the ids are checked on the CPU only: elsewhere the check would make the step wait for the device. An
    exported network does not check them.
    """
    if x.dtype != torch.int64 or x.dim() != 2 or x.shape[1] < 2:
        raise ValueError(f"sentences must be int64 (B, T) with T >= 2, not {x.dtype} {tuple(x.shape)}")
    if torch.compiler.is_exporting() or x.device.type != "cpu" or not x.numel():
        return
    if not 0 <= int(x.min()) <= int(x.max()) < vocab_size:
        wrong = int(x.max()) if int(x.max()) >= vocab_size else int(x.min())
        raise ValueError(
            f"token {wrong} is outside the model's vocabulary of {vocab_size}: use the vocabulary it was trained with"
        )


def pad_sentences(batches: Sequence[Tensor]) -> Tensor:
    """Batches of sentences (B_i, T_i) as one batch (sum of B_i, largest T_i), padded.

    Example:
        >>> pad_sentences([torch.tensor([[2, 7, 3]]), torch.tensor([[2, 7, 8, 3]])])
        tensor([[2, 7, 3, 0],
                [2, 7, 8, 3]])
    """
    length = max(batch.shape[1] for batch in batches)
    return torch.cat([F.pad(batch, (0, length - batch.shape[1]), value=PAD) for batch in batches])
