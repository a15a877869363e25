"""The hot spot of text: from hidden states to the log-probability of each token, over the whole vocabulary.

`torch.nn.functional.linear_cross_entropy` (torch 2.14) does the like, but with one bias instead of a term for each
sentence, and without the second derivatives that inference by gradient steps needs. Autograd alone would keep a
gradient of the weights (V, H) for each chunk until it has added them up.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from skipvae.nn.backward import add_product, in_own_types
from skipvae.text.tokens import PAD

CHUNK_ELEMENTS = 4 * 2**20
"""About how many logits are worked on at once: enough for fast matrix products; few enough (16 MB) for the allocator to
hand out the same memory again instead of fresh pages."""


def token_log_prob(h: Tensor, weight: Tensor, base: Tensor, targets: Tensor, save_memory: bool = False) -> Tensor:
    """log softmax(weight h_bt + base_b)[target_bt]: the log-probability of every token, in nats.

    Works through the batch in chunks of whole sentences. Each keeps its softmax for the backward pass, once, or with
    `save_memory` not at all. Without gradients nothing is kept.

    Args:
        h: (B, T, H) hidden states.
        weight: (V, H).
        base: (B, V), what the logits of a sentence have in common: the bias and the latent part of the projection.
        targets: (B, T) the tokens to score; pads score 0.
        save_memory: whether the memory must not grow with B T V. The gradients of the sum are then computed along with
            it. A loss that is a multiple of the sum, as the mean is, has no more to do; for any other the backward pass
            computes the logits again, and in float16 always: two to three matrix products more.

    Returns:
        (B, T), float32 at least.

    Raises:
        ValueError: if there is not one base for each sentence.

    Example:
        >>> h, weight, base = torch.zeros(1, 3, 8), torch.zeros(4, 8), torch.zeros(1, 4)
        >>> token_log_prob(h, weight, base, targets=torch.tensor([[1, 3, 0]])).exp()
        tensor([[0.2500, 0.2500, 1.0000]])
    """
    if base.shape != (len(h), len(weight)):
        raise ValueError(f"base must be {(len(h), len(weight))}, one row for each sentence, but is {tuple(base.shape)}")
    if torch.is_autocast_enabled(h.device.type) and h.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(h.device.type)
        h, weight, base = h.to(dtype), weight.to(dtype), base.to(dtype)
    return _TokenLogProb.apply(h, weight, base, targets, torch.is_grad_enabled(), save_memory)  # type: ignore[no-any-return]


class _TokenLogProb(torch.autograd.Function):
    """Chunk by chunk, with one sum for the gradient of the weights."""

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, base: Tensor, targets: Tensor, learns: bool, save_memory: bool
    ) -> Tensor:
        learns = learns and any(ctx.needs_input_grad)
        scores, kept = list[Tensor](), list[Tensor]()
        # Without the scale of the loss, small probabilities would vanish in float16.
        ahead = learns and save_memory and weight.dtype != torch.float16
        ctx.of_sum = _Gradients(h, weight, base, ctx.needs_input_grad[1]) if ahead else None
        for rows in _chunks(h, len(weight)):
            log_probs = _log_probs(h[rows], weight, base[rows])
            scores.append(_pick(log_probs, targets[rows]))
            if ctx.of_sum is not None:
                ctx.of_sum.add(rows, h, weight, log_probs, targets[rows], torch.ones_like(scores[-1]))
            elif learns and not save_memory:
                kept.append(log_probs)
            del log_probs  # or it would be there until the next chunk's take its name
        ctx.save_for_backward(h, weight, base, targets, *kept)
        return torch.cat(scores)

    @staticmethod
    @in_own_types
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, base, targets, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants to differentiate this, too: autograd knows how
            return *_differentiable_gradients(h, weight, base, targets, u, ctx.needs_input_grad[:3]), None, None, None
        of_sum, ctx.of_sum = ctx.of_sum, None  # scaled in place and given away: a second backward pass computes anew
        if of_sum is not None:
            factors = u[targets != PAD]
            if len(factors) and bool((factors == factors[0]).all() & factors[0].isfinite()):
                return *of_sum.result(factors[0]), None, None, None
        gradients = _Gradients(h, weight, base, ctx.needs_input_grad[1])
        for i, rows in enumerate(_chunks(h, len(weight))):
            log_probs = kept[i].clone() if kept else _log_probs(h[rows], weight, base[rows])
            gradients.add(rows, h, weight, log_probs, targets[rows], u[rows])
        return *gradients.result(), None, None, None


class _Gradients:
    """Those of u . log p by h, weight and base, gathered chunk by chunk."""

    def __init__(self, h: Tensor, weight: Tensor, base: Tensor, weight_learns: bool) -> None:
        self.h, self.base, self.dtype = h.new_empty(h.shape), base.new_empty(base.shape), weight.dtype
        wide = torch.promote_types(weight.dtype, torch.float32)  # a sum of many chunks would not fit into bfloat16
        self.weight = torch.zeros_like(weight, dtype=wide) if weight_learns else None

    def add(self, rows: slice, h: Tensor, weight: Tensor, log_probs: Tensor, targets: Tensor, u: Tensor) -> None:
        """Fills the part of some sentences: their log_probs (b, T, V), overwritten, targets (b, T) and u (b, T)."""
        u = u.masked_fill(targets == PAD, 0.0).unsqueeze(-1)
        slope = log_probs.exp_().mul_(-u).scatter_add_(-1, targets.unsqueeze(-1), u).to(h.dtype)  # (b, T, V)
        torch.matmul(slope, weight, out=self.h[rows])
        torch.sum(slope, 1, out=self.base[rows])
        if self.weight is not None:
            add_product(self.weight, slope.flatten(0, 1).t(), h[rows].flatten(0, 1))

    def result(self, factor: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor]:
        """The three of them; with a factor, multiplied by it in place."""
        if factor is not None:
            for part in filter(torch.is_tensor, (self.h, self.weight, self.base)):
                part.mul_(factor)
        return self.h, None if self.weight is None else self.weight.to(self.dtype), self.base


def _chunks(h: Tensor, vocab_size: int) -> Iterator[slice]:
    """Some sentences after the other."""
    size = max(1, CHUNK_ELEMENTS // max(1, h.shape[1] * vocab_size))
    return (slice(start, start + size) for start in range(0, max(1, len(h)), size))


def _log_probs(h: Tensor, weight: Tensor, base: Tensor) -> Tensor:
    """(b, T, V)."""
    # Flat, or a batch that is laid out by steps would be multiplied by one copy of the weights for each sentence.
    logits = F.linear(h.flatten(0, 1), weight).view(*h.shape[:2], len(weight))
    logits.add_(base.unsqueeze(1))  # in place: nothing needs what it held before
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _pick(log_probs: Tensor, targets: Tensor) -> Tensor:
    nll = F.nll_loss(log_probs.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="none")
    return -nll.view(targets.shape)


def _differentiable_gradients(
    h: Tensor, weight: Tensor, base: Tensor, targets: Tensor, u: Tensor, needed: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradients of u . log p by h, weight and base where they are needed, with a graph of their own."""
    # Of views, or the gradient by weight would go on through an h that depends on it.
    h, weight, base = (part.view_as(part) for part in (h, weight, base))
    inputs = [part for part, need in zip((h, weight, base), needed, strict=True) if need]
    chunks = _chunks(h, len(weight))
    parts = [_pick(_log_probs(h[rows], weight, base[rows]), targets[rows]) for rows in chunks]
    gradients = iter(torch.autograd.grad(torch.cat(parts), inputs, u, create_graph=True))
    return [next(gradients) if need else None for need in needed]
