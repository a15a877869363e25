"""Sentences from any model that predicts one token at a time: sampling in its usual forms, and beam search.

The model is a function (last token, state) -> (logits, next state), so a token costs one step and not a pass over all
that came before it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from skipvae.text.tokens import BOS, EOS, PAD

State = tuple[Tensor, ...]
"""What a model carries from token to token: tensors (B, ...)."""

Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""(tokens (B,), state) -> (logits of the next token (B, V), next state)."""


def sample_tokens(
    step: Step,
    state: State,
    *,
    max_length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draws sentences from left to right until each has its end symbol.

    Args:
        step: the model.
        state: its first state.
        max_length: most tokens after the start symbol.
        temperature: divides the logits; 0 takes the likeliest token (greedy decoding).
        top_k: draws among the k likeliest tokens only (Fan et al. 2018).
        top_p: draws among the fewest tokens that hold this probability together (nucleus; Holtzman et al. 2020).
        generator: source of the random numbers, on the device of the model.

    Returns:
        (B, T) with T <= max_length + 1: start symbol, words, end symbol, pads.

    Raises:
        ValueError: if an option is out of its range.

    Example:
        >>> always = torch.tensor([[0.0, 0.0, 0.0, 1.0, 2.0]])
        >>> sample_tokens(lambda token, state: (always, state), (always,), max_length=3, temperature=0.0)
        tensor([[2, 4, 4, 4]])
    """
    _check_options(max_length, temperature, top_k, top_p)
    token = state[0].new_full((len(state[0]),), BOS, dtype=torch.int64)
    finished = torch.zeros_like(token, dtype=torch.bool)
    tokens = [token]
    while len(tokens) <= max_length and not bool(finished.all()):
        logits, state = step(token, state)
        logits = _possible(logits)
        if temperature == 0:
            token = logits.argmax(-1)
        else:
            probs = truncate(logits / temperature, top_k, top_p).softmax(-1)
            token = probs.multinomial(1, generator=generator).squeeze(-1)
        token = token.masked_fill(finished, PAD)
        finished = finished | (token == EOS)
        tokens.append(token)
    return torch.stack(tokens, 1)


def truncate(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """The logits (B, V) with -inf for all but the k likeliest tokens, and for all outside the nucleus of mass p.

    The likeliest token always stays.
    """
    if top_k is not None and top_k < logits.shape[-1]:
        smallest = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        descending, order = logits.sort(-1, descending=True)
        probs = descending.softmax(-1)
        outside = probs.cumsum(-1) - probs >= top_p  # the likelier tokens hold the mass already
        outside[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf)
    return logits


def beam_search(step: Step, state: State, *, num_beams: int, max_length: int) -> tuple[Tensor, Tensor]:
    """Looks for the likeliest sentence by keeping the `num_beams` best prefixes at each length.

    A finished sentence keeps its place among the beams. No score is normalised by length: the result is the likeliest
    of all sentences of at most `max_length` tokens once there are as many beams as prefixes.

    Args:
        step: the model.
        state: its first state, with `num_beams` equal rows in a row for each sentence, (B * num_beams, ...).
        num_beams: W.
        max_length: most tokens after the start symbol.

    Returns:
        tokens (B, T) as in `sample_tokens`, and their log-probability in nats, (B,). A prefix without an end symbol
        is returned only where no beam has ended.

    Raises:
        ValueError: if an option is out of its range.

    Example:
        >>> always = torch.tensor([[0.0, 0.0, 0.0, 1.0, 2.0]]).expand(2, -1)
        >>> tokens, _ = beam_search(lambda token, state: (always, state), (always,), num_beams=2, max_length=3)
        >>> tokens
        tensor([[2, 3]])
    """
    _check_options(max_length)
    if num_beams < 1:
        raise ValueError(f"num_beams must be at least 1, not {num_beams}")
    if len(state[0]) % num_beams:
        raise ValueError(f"num_beams={num_beams} does not divide the {len(state[0])} rows of the state")
    device, batch_size = state[0].device, len(state[0]) // num_beams
    first_row = num_beams * torch.arange(batch_size, device=device).unsqueeze(1)  # (B, 1)
    tokens = torch.full((batch_size * num_beams, 1), BOS, device=device)
    finished = torch.zeros(batch_size, num_beams, dtype=torch.bool, device=device)
    scores = torch.zeros(batch_size, num_beams, device=device)
    scores[:, 1:] = -torch.inf  # all beams start as the same prefix: one of them counts
    while tokens.shape[1] <= max_length and not bool(_settled(scores, finished)):
        logits, state = step(tokens[:, -1], state)
        log_probs = _possible(logits).log_softmax(-1).view(batch_size, num_beams, -1)  # (B, W, V)
        # A finished sentence has one continuation, which costs nothing: a pad.
        log_probs = log_probs.masked_fill(finished.unsqueeze(-1), -torch.inf)
        log_probs[..., PAD].masked_fill_(finished, 0.0)
        candidates = (scores.unsqueeze(-1).to(log_probs.dtype) + log_probs).flatten(1)
        scores, best = candidates.topk(num_beams)  # (B, W)
        parent, token = best // log_probs.shape[-1], best % log_probs.shape[-1]
        rows = (first_row + parent).flatten()
        tokens = torch.cat([tokens[rows], token.view(-1, 1)], 1)
        state = tuple(part[rows] for part in state)
        finished = (finished.gather(1, parent) | (token == EOS)) & scores.isfinite()
    ended = finished | ~finished.any(1, keepdim=True)
    score, beam = scores.masked_fill(~ended, -torch.inf).max(1)
    tokens = tokens[first_row.squeeze(1) + beam]
    return tokens[:, : int(tokens.ne(PAD).sum(1).max())], score


def _settled(scores: Tensor, finished: Tensor) -> Tensor:
    """Whether no beam that still runs can overtake the best finished one: a longer sentence is never likelier."""
    best_finished = scores.masked_fill(~finished, -torch.inf).amax(1)
    best_running = scores.masked_fill(finished, -torch.inf).amax(1)
    return (finished.any(1) & (best_finished >= best_running)).all()


def _possible(logits: Tensor) -> Tensor:
    """The logits (B, V), in float32 at least, without the symbols that never follow: pad and start."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32), copy=True)
    logits[:, PAD] = -torch.inf
    logits[:, BOS] = -torch.inf
    return logits


def _check_options(
    max_length: int, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> None:
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, not {max_length}")
    if temperature < 0:
        raise ValueError(f"temperature must be 0 (greedy) or more, not {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, not {top_p}")
