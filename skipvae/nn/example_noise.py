"""Noise that is a function of the example alone: the same at every index and in every batch."""

import math

import torch
from torch import Tensor


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= 1 << 63 else word


_STEP, _FIRST, _SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _shift_right(words: Tensor, bits: int) -> Tensor:
    # int64 shifts copy the sign bit: mask it away
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def _mix(words: Tensor) -> Tensor:
    """A hash of 64-bit words: the finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    words = words + _STEP
    words = (words ^ _shift_right(words, 30)) * _FIRST
    words = (words ^ _shift_right(words, 27)) * _SECOND
    return words ^ _shift_right(words, 31)


def example_keys(x: Tensor) -> Tensor:
    """A hash of the content of each example of x (B, ...): int64 (B,).

    Zeros do not count, so that the key of a sentence does not depend on its padding.

    Example:
        >>> keys = example_keys(torch.tensor([[2, 7, 3, 0], [2, 8, 3, 0]]))
        >>> bool(keys[0] == example_keys(torch.tensor([[2, 7, 3]]))[0]), bool(keys[0] == keys[1])
        (True, False)
    """
    content = x.flatten(1)
    words = content.float().view(torch.int32).long() if content.is_floating_point() else content.long()
    positions = torch.arange(words.shape[1], device=x.device)
    return _mix(words + _mix(positions)).masked_fill(content == 0, 0).sum(1)


def example_noise(x: Tensor, num_draws: int, latent_dim: int, dtype: torch.dtype) -> Tensor:
    """Standard normal noise (num_draws, B, latent_dim), a function of the content of each example of x (B, ...).

    By the transform of Box & Muller (1958): normal = sqrt(-2 log u) cos(2 pi v), with u and v uniform on (0, 1].

    Args:
        x: (B, ...).
        num_draws: how many vectors each example has.
        latent_dim: K, their length.
        dtype: of the noise.

    Example:
        >>> x = torch.rand(3, 1, 4, 4)
        >>> noise = example_noise(x, 5, 2, torch.float32)
        >>> noise.shape, torch.equal(noise.flip(1), example_noise(x.flip(0), 5, 2, torch.float32))
        (torch.Size([5, 3, 2]), True)
    """
    draws = torch.arange(num_draws * latent_dim, device=x.device).view(num_draws, 1, latent_dim)
    words = _mix(_mix(example_keys(x)).view(-1, 1) + _mix(draws))  # (num_draws, B, latent_dim)
    u, v = (_fractions(words, bits) for bits in (40, 16))
    normal = (-2 * (u + 2**-24).log()).sqrt() * ((v + 2**-24) * (2 * math.pi)).cos()
    return normal.to(dtype)


def example_uniform(x: Tensor) -> Tensor:
    """Noise uniform on [0, 1), of the shape of x (B, ...), a function of the content of each example.

    Example:
        >>> x = torch.rand(3, 1, 4, 4)
        >>> torch.equal(example_uniform(x).flip(0), example_uniform(x.flip(0)))
        True
    """
    values = -1 - torch.arange(x[:1].numel(), device=x.device)  # `example_noise` has the numbers from 0 on
    return _fractions(_mix(_mix(example_keys(x)).view(-1, 1) + _mix(values)), 40).view(x.shape).to(x.dtype)


def _fractions(words: Tensor, bits: int) -> Tensor:
    """24 bits of a hash, the most that float32 holds, as multiples of 2^-24 in [0, 1)."""
    return (_shift_right(words, bits) & ((1 << 24) - 1)).float() / (1 << 24)
