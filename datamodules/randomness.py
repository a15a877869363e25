"""Counter-based randomness: a random word is a hash of its purpose, such as (seed, epoch, example, pixel).

Nothing is drawn in sequence and there is no state to save. The words of an example depend neither on its batch, nor on
the number of processes, nor on whether the run was resumed, and CPU and GPU agree bit for bit. Each level of the hash
is one output of SplitMix64, the finaliser of Steele, Lea and Flood (OOPSLA 2014); for the idea see Salmon et al.,
*Parallel random numbers: as easy as 1, 2, 3* (SC 2011).
"""

from enum import IntEnum

import torch
from torch import Tensor


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= 1 << 63 else word


_STEP, _FIRST, _SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Stream(IntEnum):
    """The uses of random words: the first counter, so that no two uses get the same words."""

    SHUFFLE = 0
    SPLIT = 1
    TRAIN_PIXELS = 2
    VAL_PIXELS = 3
    TEST_PIXELS = 4
    BUCKETS = 5
    LATENTS = 6
    NOISE = 7
    WEIGHTS = 8


def _shift_right(words: Tensor, bits: int) -> Tensor:
    # int64 shifts copy the sign bit: mask it away
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix(words: Tensor) -> Tensor:
    words = (words ^ _shift_right(words, 30)).mul_(_FIRST)
    words = (words ^ _shift_right(words, 27)).mul_(_SECOND)
    return words ^ _shift_right(words, 31)


def random_words(*counters: int | Tensor) -> Tensor:
    """Uniform 64-bit words, one for each combination of counters.

    Args:
        counters: Integers or int64 tensors on one device, broadcast against each other.

    Returns:
        int64, of the shape to which the counters broadcast.

    Example:
        >>> words = random_words(7, torch.arange(3)[:, None], torch.arange(4))
        >>> words.shape
        torch.Size([3, 4])
        >>> bool(words[2, 1] == random_words(7, 2, 1))
        True
    """
    words = torch.zeros((), dtype=torch.int64)
    for counter in counters:
        words = _mix(words + (torch.as_tensor(counter) + 1) * _STEP)
    return words


def uniform(*counters: int | Tensor) -> Tensor:
    """Uniform samples strictly between 0 and 1, float64; for the counters see `random_words`.

    Example:
        >>> uniform(7, torch.arange(3)).shape
        torch.Size([3])
    """
    return (_shift_right(random_words(*counters), 12).double() + 0.5) * 2.0**-52


def normal(*counters: int | Tensor) -> Tensor:
    """Standard normal samples, float64; for the counters see `random_words`.

    Example:
        >>> normal(7, torch.arange(3)).shape
        torch.Size([3])
    """
    samples: Tensor = torch.special.ndtri(uniform(*counters))
    return samples


def permutation(size: int, *counters: int, device: torch.device | str = "cpu") -> Tensor:
    """A random order of 0..size-1: int64 (size,), the same on every device.

    Example:
        >>> permutation(5, 0).sort().values.tolist()
        [0, 1, 2, 3, 4]
    """
    return random_words(*counters, torch.arange(size, device=device)).argsort()
