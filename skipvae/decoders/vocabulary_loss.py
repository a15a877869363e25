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

from skipvae.tokens import PAD

CHUNK_ELEMENTS = 6 * 2**20
"""About how many logits are worked on at once: enough for fast matrix products; few enough (24 MB) for the allocator to
hand out the same memory again instead of fresh pages."""


def token_log_prob(h: Tensor, weight: Tensor, base: Tensor, targets: Tensor, recompute: bool = False) -> Tensor:
    """log softmax(weight h_bt + base_b)[target_bt]: the log-probability of every token, in nats.

    Works through the batch in chunks of whole sentences. Each keeps its softmax for the backward pass, once, or with
    `recompute` not at all. Without gradients nothing is kept.

    Args:
        h: (B, T, H) hidden states.
        weight: (V, H).
        base: (B, V), what the logits of a sentence have in common: the bias and the latent part of the projection.
        targets: (B, T) the tokens to score; pads score 0.
        recompute: whether the backward pass computes the logits again: one matrix product more, for memory that does
            not grow with B T V.

    Returns:
        (B, T), float32 at least.

    Example:
        >>> h, weight, base = torch.zeros(1, 3, 8), torch.zeros(4, 8), torch.zeros(1, 4)
        >>> token_log_prob(h, weight, base, targets=torch.tensor([[1, 3, 0]])).exp()
        tensor([[0.2500, 0.2500, 1.0000]])
    """
    if torch.is_autocast_enabled(h.device.type) and h.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(h.device.type)
        h, weight, base = h.to(dtype), weight.to(dtype), base.to(dtype)
    keep = torch.is_grad_enabled() and not recompute
    return _TokenLogProb.apply(h, weight, base, targets, keep)  # type: ignore[no-any-return]


class _TokenLogProb(torch.autograd.Function):
    """Chunk by chunk, with one sum for the gradient of the weights."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, base: Tensor, targets: Tensor, keep: bool) -> Tensor:
        scores, kept = list[Tensor](), list[Tensor]()
        keep = keep and any(ctx.needs_input_grad)
        for h_, base_, targets_ in _chunks(h, base, targets, len(weight)):
            log_probs = _log_probs(h_, weight, base_)
            scores.append(_pick(log_probs, targets_))
            if keep:
                kept.append(log_probs)
        ctx.save_for_backward(h, weight, base, targets, *kept)
        return torch.cat(scores)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, base, targets, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants to differentiate this, too: autograd knows how
            return *_differentiable_gradients(h, weight, base, targets, u, ctx.needs_input_grad[:3]), None, None
        grad_h, grad_base = h.new_empty(h.shape), base.new_empty(base.shape)
        wide = torch.promote_types(weight.dtype, torch.float32)  # a sum of many chunks would not fit into bfloat16
        grad_weight = torch.zeros_like(weight, dtype=wide) if ctx.needs_input_grad[1] else None
        u = u.masked_fill(targets == PAD, 0.0).unsqueeze(-1)
        chunks = _chunks(h, base, targets, len(weight), u, grad_h, grad_base)
        for i, (h_, base_, targets_, u_, grad_h_, grad_base_) in enumerate(chunks):
            log_probs = kept[i] if kept else _log_probs(h_, weight, base_)
            slope = log_probs.exp().mul_(-u_).scatter_add_(-1, targets_.unsqueeze(-1), u_).to(h.dtype)  # (b, T, V)
            torch.matmul(slope, weight, out=grad_h_)
            torch.sum(slope, 1, out=grad_base_)
            if grad_weight is not None:
                factors = slope.flatten(0, 1).t(), h_.flatten(0, 1)
                grad_weight = grad_weight.addmm_(*factors) if wide == h.dtype else grad_weight.add_(torch.mm(*factors))
        return grad_h, None if grad_weight is None else grad_weight.to(weight.dtype), grad_base, None, None


def _chunks(h: Tensor, base: Tensor, targets: Tensor, vocab_size: int, *more: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Some sentences of each."""
    size = max(1, CHUNK_ELEMENTS // max(1, h.shape[1] * vocab_size))
    return zip(*(torch.split(part, size) for part in (h, base, targets, *more)), strict=True)


def _log_probs(h: Tensor, weight: Tensor, base: Tensor) -> Tensor:
    """(b, T, V)."""
    logits = F.linear(h, weight).add_(base.unsqueeze(1))  # in place: nothing needs what it held before
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _pick(log_probs: Tensor, targets: Tensor) -> Tensor:
    nll = F.nll_loss(log_probs.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="none")
    return -nll.view(targets.shape)


def _differentiable_gradients(
    h: Tensor, weight: Tensor, base: Tensor, targets: Tensor, u: Tensor, needed: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradients of u . log p by h, weight and base where they are needed, with a graph of their own."""
    h, weight, base = (part.view_as(part) for part in (h, weight, base))  # h may itself depend on the weights
    inputs = [part for part, need in zip((h, weight, base), needed, strict=True) if need]
    parts = [_pick(_log_probs(h_, weight, base_), t) for h_, base_, t in _chunks(h, base, targets, len(weight))]
    gradients = iter(torch.autograd.grad(torch.cat(parts), inputs, u, create_graph=True))
    return [next(gradients) if need else None for need in needed]
