"""Is my VAE collapsed? A verdict in words: whether the encoder informs z and the decoder uses it, with advice."""

import math
from collections.abc import Mapping
from typing import Any

NEGLIGIBLE = 0.1
"""Nats per example below which a side counts as silent, and a unit's KL as small."""


def verdict(results: Mapping[str, Any], skip: bool, annealed: bool = False, free_bits: bool = False) -> str:
    """One line that says which side uses z, by how much, and what to try next.

    The encoder is silent if MI is at most 0.1 nats or twice its standard error; the decoder, if log p(x|z) moves by no
    more than that, neither when z is exchanged between examples nor when it is drawn from the prior. Nothing is said of
    a side that was not measured.

    Args:
        results: of a model's evaluation: `au`, `kl`, `kl_per_dim`, `mi_ceiling`; `mi`, `decoder_dependence`,
            `prior_dependence` and `exchange_loss` with their standard errors.
        skip: whether the decoder skips.
        annealed: whether the weight of the KL was annealed.
        free_bits: whether training used free bits.

    Example:
        >>> verdict({"au": 14, "kl": 18.2, "kl_per_dim": [1.3] * 14 + [0.0] * 6}, skip=False)
        '14 of 20 units active, 6 collapsed; KL 18.2 nats; try skip or KL annealing'
    """
    num_units = len(results.get("kl_per_dim", []))
    if not num_units:
        return "no latent variables, so nothing that could collapse"
    active, kl = results["au"], results["kl"]
    collapsed, thin = num_units - active, active > 0 and kl / active < NEGLIGIBLE
    encoder_informs, decoder_listens = _exceeds_noise(results, "mi"), _exceeds_noise(results, "decoder_dependence")
    healthy = not collapsed and not thin and encoder_informs is not False and decoder_listens is not False

    units = f"{active} of {num_units} units active"
    if collapsed or healthy:
        units += f", {collapsed or 'none'} collapsed"
    parts = [units, f"KL {_nats(kl)} nats{f', under {NEGLIGIBLE} for each active unit' if thin else ''}"]
    parts += _sides(results, encoder_informs, decoder_listens)
    if encoder_informs is False and kl - results["mi"] > NEGLIGIBLE:
        parts.append("the KL carries no information: the posterior is alike for all x, away from the prior")
    if not healthy:
        remedies = {"skip": skip, "KL annealing": annealed, "free bits": free_bits}
        untried = [name for name, tried in remedies.items() if not tried]
        parts.append(f"try {' or '.join(untried[:2] or ['a smaller latent_dim'])}")
    if at_ceiling(results):
        parts.append(f"MI is at its ceiling {results['mi_ceiling']:.2f} and could be more: use a larger split")
    return "; ".join(parts)


def at_ceiling(results: Mapping[str, Any]) -> bool:
    """Whether the estimate of the mutual information is as large as the number of examples allows."""
    if "mi" not in results:
        return False
    margin = max(0.1, 2 * float(results["mi_stderr"]))
    return float(results["mi"]) > float(results["mi_ceiling"]) - margin


def _exceeds_noise(results: Mapping[str, Any], key: str) -> bool | None:
    """Whether a quantity is neither negligible nor within its error; None if it was not measured."""
    if key not in results:
        return None
    error = results.get(f"{key}_stderr", 0.0)
    return bool(results[key] > max(NEGLIGIBLE, 0.0 if math.isnan(error) else 2 * error))


def _sides(results: Mapping[str, Any], encoder_informs: bool | None, decoder_listens: bool | None) -> list[str]:
    """A sentence on encoder and decoder, as far as they were measured."""
    mi, exchanged = _measured(results, "mi"), "when z is exchanged between examples"
    silent = f"the encoder puts nothing into z (MI {mi})"
    if encoder_informs is None or decoder_listens is None:
        return [silent] if encoder_informs is False else []
    moves = f"log p(x|z) moves by {_measured(results, 'decoder_dependence')} {exchanged}"
    if encoder_informs and decoder_listens:
        loss = _measured(results, "exchange_loss")
        return [f"both sides use z: MI {mi}, and the decoder loses {loss} {exchanged}"]
    listens = decoder_listens or _exceeds_noise(results, "prior_dependence")
    if listens and not decoder_listens:
        moves += f", but by {_measured(results, 'prior_dependence')} when it is drawn from the prior"
    if encoder_informs:
        return [f"encoder only: MI {mi}, but the decoder {'does not use it' if listens else 'ignores z'} ({moves})"]
    if listens:
        return [f"decoder only: the decoder listens ({moves}), but {silent}"]
    return [f"full collapse: {silent} and the decoder ignores z ({moves})"]


def _measured(results: Mapping[str, Any], key: str) -> str:
    """Value and standard error, with the digits that the error leaves."""
    value, error = results.get(key, math.nan), results.get(f"{key}_stderr", math.nan)
    digits = min(3, max(1, -math.floor(math.log10(error)))) if 0 < error < math.inf else 2
    return f"{value:.{digits}f}" + ("" if math.isnan(error) else f" ± {error:.{digits}f}")


def _nats(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
