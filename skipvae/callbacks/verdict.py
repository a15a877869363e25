"""Is my VAE collapsed? An answer in words, with advice."""

from collections.abc import Mapping
from typing import Any


def verdict(results: Mapping[str, Any], skip: bool, annealed: bool = False, free_bits: bool = False) -> str:
    """One line that says how many units are used and what to try next.

    Args:
        results: of a model's evaluation: `au`, `kl`, `kl_per_dim`, and `mi` with `mi_stderr` and `mi_ceiling`.
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
    collapsed = num_units - active
    parts = [f"{active} of {num_units} units active, {collapsed or 'none'} collapsed", f"KL {_nats(kl)} nats"]
    if active == 0:
        parts.append("full collapse: the decoder ignores z")
    if collapsed:
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


def _nats(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
