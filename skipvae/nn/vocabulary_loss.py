"""The vocabulary projection and its loss: from hidden states to the log-probability of each token.

It is the most expensive part of text models. `torch.nn.functional.linear_cross_entropy` (torch 2.14) is similar, but
with one bias instead of a term for each sentence, and without the second derivatives that inference by gradient ascent
needs. Autograd alone would keep a gradient of the weights (V, H) for each chunk until it has added them up.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from skipvae.nn.backward import add_product, in_own_types
from skipvae.text.tokens import PAD

CHUNK_ELEMENTS = 4 * 2**20
"""The approximate number of logits computed at once: enough for fast matrix products; few enough (16 MB) for the
allocator to reuse the same memory instead of fresh pages."""


def token_log_prob(h: Tensor, weight: Tensor, base: Tensor, targets: Tensor, save_memory: bool = False) -> Tensor:
    """log softmax(W_h h_bt + base_b)[target_bt]: the log-probability of every token, in nats.

    It is computed in chunks of whole sentences. Without gradients nothing is kept; else see `_TokenLogProb`.

    Args:
        h: (B, T, H) hidden states.
        weight: W_h, (V, H).
        base: (B, V), the part of the logits that is the same at every token of a sentence: the bias [+ W_z z].
        targets: (B, T) token ids; padding tokens score 0.
        save_memory: whether the memory must not grow with B T V. Each chunk then keeps no softmax; its gradients are
            computed in the forward pass, for a loss that is a multiple of the sum of all scores, as the mean is. For
            any other loss, and always in float16, the backward pass computes the logits again, which takes two to three
            matrix products more.

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
    """The forward pass, chunk by chunk, and four ways to the gradients of u . log p, where u (B, T) is the loss's own.

    - "ahead": the forward pass has computed the gradients of the sum of log p; u is one factor, which multiplies them.
    - "kept": the forward pass has kept the log-probabilities of each chunk.
    - "again": the log-probabilities of each chunk are computed again, as neither of the above holds.
    - by autograd, where the gradients are to be differentiated themselves.
    """

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, base: Tensor, targets: Tensor, grad_enabled: bool, save_memory: bool
    ) -> Tensor:
        learns = grad_enabled and any(ctx.needs_input_grad)
        # Not in float16: without the scale of the loss, small probabilities would vanish.
        ahead = learns and save_memory and weight.dtype != torch.float16
        keeps = learns and not save_memory
        ctx.ahead = _Gradients(h, weight, base, ctx.needs_input_grad[1]) if ahead else None
        scores, kept = list[Tensor](), list[Tensor]()
        for rows in _chunks(h, len(weight)):
            log_probs = _log_probs(h[rows], weight, base[rows])
            scores.append(_pick(log_probs, targets[rows]))
            if ctx.ahead is not None:
                ctx.ahead.add(rows, h, weight, log_probs, targets[rows], torch.ones_like(scores[-1]))
            elif keeps:
                kept.append(log_probs)
            del log_probs  # frees the memory before the next chunk needs it
        ctx.save_for_backward(h, weight, base, targets, *kept)
        return torch.cat(scores)

    @staticmethod
    @in_own_types
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, base, targets, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable_gradients(h, weight, base, targets, u, ctx.needs_input_grad[:3]), None, None, None
        ahead, ctx.ahead = ctx.ahead, None  # scaled in place and given away: a second backward pass computes again
        factor = None if ahead is None else _common_factor(u, targets)
        if factor is not None:
            return *ahead.scaled(factor), None, None, None
        gradients = _Gradients(h, weight, base, ctx.needs_input_grad[1])
        for i, rows in enumerate(_chunks(h, len(weight))):
            log_probs = kept[i].clone() if kept else _log_probs(h[rows], weight, base[rows])  # overwritten by `add`
            gradients.add(rows, h, weight, log_probs, targets[rows], u[rows])
        return *gradients.result(), None, None, None


def _common_factor(u: Tensor, targets: Tensor) -> Tensor | None:
    """The value of u (B, T) at all tokens but padding, (); None if it is not one finite value."""
    factors = u[targets != PAD]
    if len(factors) and bool((factors == factors[0]).all() & factors[0].isfinite()):
        return factors[0]
    return None


class _Gradients:
    """The gradients of u . log p w.r.t. h, weight and base, collected chunk by chunk.

    With p = softmax(logits), those w.r.t. the logits of a token are d_logits = u (onehot(target) - p), and so

        d_h = d_logits W_h,    d_weight = sum over tokens of d_logits^T h,    d_base = sum over tokens of d_logits
    """

    def __init__(self, h: Tensor, weight: Tensor, base: Tensor, weight_learns: bool) -> None:
        self.h, self.base, self.dtype = h.new_empty(h.shape), base.new_empty(base.shape), weight.dtype
        wide = torch.promote_types(weight.dtype, torch.float32)  # a sum of many chunks would not fit into bfloat16
        self.weight = torch.zeros_like(weight, dtype=wide) if weight_learns else None

    def add(self, rows: slice, h: Tensor, weight: Tensor, log_probs: Tensor, targets: Tensor, u: Tensor) -> None:
        """Adds a chunk of sentences.

        Args:
            rows: which sentences.
            h: of all sentences, (B, T, H).
            weight: (V, H).
            log_probs: of the chunk, (b, T, V); overwritten.
            targets: of the chunk, (b, T).
            u: of the chunk, (b, T).
        """
        u = u.masked_fill(targets == PAD, 0.0).unsqueeze(-1)
        d_logits = log_probs.exp_().mul_(-u).scatter_add_(-1, targets.unsqueeze(-1), u).to(h.dtype)  # (b, T, V)
        torch.matmul(d_logits, weight, out=self.h[rows])
        torch.sum(d_logits, 1, out=self.base[rows])
        if self.weight is not None:
            add_product(self.weight, d_logits.flatten(0, 1).t(), h[rows].flatten(0, 1))

    def scaled(self, factor: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """The gradients, multiplied by a factor () in place."""
        for part in filter(torch.is_tensor, (self.h, self.weight, self.base)):
            part.mul_(factor)
        return self.result()

    def result(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Those w.r.t. h (B, T, H), weight (V, H) and base (B, V)."""
        return self.h, None if self.weight is None else self.weight.to(self.dtype), self.base


def _chunks(h: Tensor, vocab_size: int) -> Iterator[slice]:
    """The chunks of sentences, as slices of the batch."""
    size = max(1, CHUNK_ELEMENTS // max(1, h.shape[1] * vocab_size))
    return (slice(start, start + size) for start in range(0, max(1, len(h)), size))


def _log_probs(h: Tensor, weight: Tensor, base: Tensor) -> Tensor:
    """log softmax(W_h h + base), (b, T, V), for h (b, T, H), weight (V, H) and base (b, V)."""
    # Flat: else a batch that is laid out by steps would be multiplied by one copy of the weights for each sentence.
    logits = F.linear(h.flatten(0, 1), weight).view(*h.shape[:2], len(weight))
    logits.add_(base.unsqueeze(1))  # in place: nothing needs the logits without base
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _pick(log_probs: Tensor, targets: Tensor) -> Tensor:
    """The log-probabilities of the targets, (b, T), 0 for padding tokens, from those of all tokens (b, T, V)."""
    nll = F.nll_loss(log_probs.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="none")
    return -nll.view(targets.shape)


def _differentiable_gradients(
    h: Tensor, weight: Tensor, base: Tensor, targets: Tensor, u: Tensor, needed: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradients of u . log p w.r.t. h, weight and base where they are needed, with a graph of their own."""
    # Of views: h may itself depend on weight, whose gradient must not continue through it.
    h, weight, base = (part.view_as(part) for part in (h, weight, base))
    inputs = [part for part, need in zip((h, weight, base), needed, strict=True) if need]
    chunks = _chunks(h, len(weight))
    parts = [_pick(_log_probs(h[rows], weight, base[rows]), targets[rows]) for rows in chunks]
    gradients = iter(torch.autograd.grad(torch.cat(parts), inputs, u, create_graph=True))
    return [next(gradients) if need else None for need in needed]
