"""The hot spot of text: from hidden states to the log-probability of each token, over the whole vocabulary.

`torch.nn.functional.linear_cross_entropy` (torch 2.14) does the like, but with one bias instead of a term for each
sentence, and without the second derivatives that inference by gradient steps needs. What is below is autograd's own:
differentiable any number of times, and it computes no gradient that nobody asked for.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

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
    size = max(1, CHUNK_ELEMENTS // max(1, h.shape[1] * len(weight)))
    chunks = zip(*(torch.split(part, size) for part in (h, base, targets)), strict=True)
    if recompute and torch.is_grad_enabled():
        parts = [
            checkpoint(_log_prob, h_, weight, base_, targets_, use_reentrant=False, preserve_rng_state=False)
            for h_, base_, targets_ in chunks
        ]
    else:
        parts = [_log_prob(h_, weight, base_, targets_) for h_, base_, targets_ in chunks]
    return torch.cat(parts)


def _log_prob(h: Tensor, weight: Tensor, base: Tensor, targets: Tensor) -> Tensor:
    logits = F.linear(h, weight).add_(base.unsqueeze(1))  # (b, T, V); in place: nothing needs what it held before
    log_probs = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    nll = F.nll_loss(log_probs.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="none")
    return -nll.view(targets.shape)
