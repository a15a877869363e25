"""Sentences as tensors: int64 (B, T), each row `bos w_1 ... w_n eos pad ... pad`."""

import torch
from torch import Tensor

PAD, UNK, BOS, EOS = range(4)
"""Ids of the special symbols: padding, a word outside the vocabulary, and the beginning and end of a sentence."""


def lengths(x: Tensor) -> Tensor:
    """The number of tokens of each sentence, both end symbols counted and pads not, (B,), for x (B, T)."""
    return x.ne(PAD).sum(1)


def num_predictions(x: Tensor) -> Tensor:
    """The number of tokens that a model of x (B, T) predicts, (B,): the end symbol counts, the start symbol does not.

    Perplexity is exp(sum of the negative log-likelihoods / sum of these).

    Example:
        >>> num_predictions(torch.tensor([[2, 7, 8, 3], [2, 7, 3, 0]]))
        tensor([3, 2])
    """
    return lengths(x[:, 1:])


def check_tokens(x: Tensor, vocab_size: int) -> None:
    """Raises a ValueError unless x is a batch of sentences over a vocabulary of this size.

    The ids themselves are looked at on the CPU only: elsewhere the check would make the step wait for the device.
    """
    if x.dtype != torch.int64 or x.dim() != 2 or x.shape[1] < 2:
        raise ValueError(f"sentences must be int64 (B, T) with T >= 2, not {x.dtype} {tuple(x.shape)}")
    if x.device.type == "cpu" and x.numel() and not 0 <= int(x.min()) <= int(x.max()) < vocab_size:
        wrong = int(x.max()) if int(x.max()) >= vocab_size else int(x.min())
        raise ValueError(
            f"token {wrong} is outside the model's vocabulary of {vocab_size}: use the vocabulary it was trained with"
        )
