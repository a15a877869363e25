"""Generation by any model that predicts one token at a time: sampling in its usual forms, and beam search.

The model is a function (last token, state) -> (logits, next state), so that a token costs one step and not a pass over
the whole prefix.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from skipvae.text.tokens import BOS, EOS, PAD

State = tuple[Tensor, ...]
"""The state of a model between tokens: tensors (B, ...)."""

Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""(tokens (B,), state) -> (logits of the next token (B, V), next state)."""


def without(step: Step, state: State, excluded: Collection[int]) -> tuple[Step, State]:
    """A model that never predicts some tokens, and its first state.

    Example:
        >>> even = torch.zeros(1, 5)
        >>> step, _ = without(lambda token, state: (even, state), (even,), [1])
        >>> step(torch.tensor([2]), (even,))[0]
        tensor([[0., -inf, 0., 0., 0.]])
    """
    if not excluded:
        return step, state
    columns = torch.tensor(sorted(excluded), device=state[0].device)

    def restricted(token: Tensor, state: State) -> tuple[Tensor, State]:
        logits, after = step(token, state)
        return logits.index_fill(1, columns, -torch.inf), after

    return restricted, state


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
    """Samples sentences from left to right until each has its EOS.

    Args:
        step: the model.
        state: its first state.
        max_length: largest number of tokens after BOS.
        temperature: divides the logits; 0 takes the most probable token (greedy decoding).
        top_k: samples from the k most probable tokens only (Fan et al. 2018).
        top_p: samples from the nucleus only: the smallest set of most probable tokens whose probabilities sum to at
            least top_p (Holtzman et al. 2020).
        generator: source of the random numbers, on the device of the model.

    Returns:
        Token ids (B, T) with T <= max_length + 1: BOS, words, EOS, padding.

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
        logits = _without_padding_and_bos(logits)
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
    """The logits with -inf for all but the k most probable tokens, and for all outside the nucleus of probability p.

    Args:
        logits: (B, V).
        top_k: k; None for all tokens.
        top_p: p; None for 1. The most probable token is always in the nucleus.

    Returns:
        (B, V).

    Source: Fan, Lewis & Dauphin 2018 (arXiv:1805.04833); Holtzman et al. 2020 (arXiv:1904.09751).
    """
    if top_k is not None and top_k < logits.shape[-1]:
        smallest = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None:
        descending, order = logits.sort(-1, descending=True)
        probs = descending.softmax(-1)
        outside = probs.cumsum(-1) - probs >= top_p  # the more probable tokens already sum to p
        outside[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf)
    return logits


def beam_search(step: Step, state: State, *, num_beams: int, max_length: int) -> tuple[Tensor, Tensor]:
    """Searches for the most probable sentence by keeping the `num_beams` best prefixes at each length.

    A beam is a prefix and its score, log p(prefix). At each step every beam is extended by every token, and the best
    `num_beams` of these candidates are the new beams. A finished beam stays a candidate, extended by padding at no
    cost. Scores are not normalised by length: the result is the most probable of all sentences of at most `max_length`
    tokens once there are as many beams as prefixes.

    Args:
        step: the model.
        state: its first state, (B * W, ...), in which the W rows of each sentence are equal and adjacent.
        num_beams: W.
        max_length: largest number of tokens after BOS.

    Returns:
        Token ids (B, T) as in `sample_tokens`, and their log-probability in nats, (B,). A prefix without EOS is
        returned only where no beam has finished.

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
    first_row = num_beams * torch.arange(batch_size, device=device).unsqueeze(1)  # of each sentence, (B, 1)
    tokens = torch.full((batch_size * num_beams, 1), BOS, device=device)
    finished = torch.zeros(batch_size, num_beams, dtype=torch.bool, device=device)
    scores = torch.zeros(batch_size, num_beams, device=device)
    scores[:, 1:] = -torch.inf  # all beams begin as the same prefix: only the first one counts
    while tokens.shape[1] <= max_length and not bool(_cannot_improve(scores, finished)):
        logits, state = step(tokens[:, -1], state)
        candidates = scores.unsqueeze(-1) + _log_probs_of_extensions(logits, finished)  # (B, W, V)
        vocab_size = candidates.shape[-1]
        scores, best = candidates.flatten(1).topk(num_beams)  # (B, W), best = parent * V + token
        parent, token = best // vocab_size, best % vocab_size
        rows = (first_row + parent).flatten()  # of the parents, among those of the state
        tokens = torch.cat([tokens[rows], token.view(-1, 1)], 1)
        state = tuple(part[rows] for part in state)
        finished = (finished.gather(1, parent) | (token == EOS)) & scores.isfinite()
    result = finished | ~finished.any(1, keepdim=True)  # finished beams, or all where there is none
    score, beam = scores.masked_fill(~result, -torch.inf).max(1)
    tokens = tokens[first_row.squeeze(1) + beam]
    return tokens[:, : int(tokens.ne(PAD).sum(1).max())], score


def _log_probs_of_extensions(logits: Tensor, finished: Tensor) -> Tensor:
    """log p(token | beam), (B, W, V), for logits (B * W, V); after a finished beam (B, W), 0 for padding, else -inf."""
    log_probs = _without_padding_and_bos(logits).log_softmax(-1).view(*finished.shape, -1)
    log_probs = log_probs.masked_fill(finished.unsqueeze(-1), -torch.inf)
    log_probs[..., PAD].masked_fill_(finished, 0.0)
    return log_probs


def _cannot_improve(scores: Tensor, finished: Tensor) -> Tensor:
    """Whether the best beam of every sentence is finished, (): extensions never raise a score."""
    best_finished = scores.masked_fill(~finished, -torch.inf).amax(1)
    best_unfinished = scores.masked_fill(finished, -torch.inf).amax(1)
    return (finished.any(1) & (best_finished >= best_unfinished)).all()


def _without_padding_and_bos(logits: Tensor) -> Tensor:
    """The logits (B, V), in float32 at least, with -inf for the tokens that never follow: padding and BOS."""
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
