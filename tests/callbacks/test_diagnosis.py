"""The verdict in words."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipvae.callbacks import verdict


def results(
    active: int,
    of: int,
    kl: float = 10.0,
    mi: float = 5.0,
    change: float | None = 20.0,
    by_prior: float = 0.05,
    num_examples: int = 10_000,
) -> dict[str, Any]:
    found = {
        "au": active,
        "kl": kl,
        "kl_per_dim": [kl / of] * of,
        "mi": mi,
        "mi_stderr": 0.02,
        "mi_ceiling": math.log(num_examples),
    }
    if change is None:
        return found
    return found | {
        "decoder_dependence": change,
        "decoder_dependence_stderr": 0.01 * change,
        "prior_dependence": by_prior,
        "prior_dependence_stderr": 0.02,
        "exchange_loss": 0.9 * change,
        "exchange_loss_stderr": 0.01 * change,
    }


BOTH = "both sides use z: MI 5.00 ± 0.02, and the decoder loses 18.0 ± 0.2 when z is exchanged between examples"
NOTHING = "the encoder puts nothing into z (MI 0.01 ± 0.02)"


@pytest.mark.parametrize(
    ("found", "tried", "line"),
    [
        (results(20, 20), {}, f"20 of 20 units active, none collapsed; KL 10.0 nats; {BOTH}"),
        (
            results(14, 20, 18.2),
            {},
            f"14 of 20 units active, 6 collapsed; KL 18.2 nats; {BOTH}; try skip or KL annealing",
        ),
        (
            results(0, 32, 0.007, 0.006, change=0.03),
            {},
            f"0 of 32 units active, 32 collapsed; KL 0.007 nats; full collapse: {NOTHING} and the decoder ignores z "
            "(log p(x|z) moves by 0.030 ± 0.000 when z is exchanged between examples); try skip or KL annealing",
        ),
        (  # the decoder was not measured, as in files of earlier versions
            results(0, 32, 0.007, 0.006, change=None),
            {},
            f"0 of 32 units active, 32 collapsed; KL 0.007 nats; {NOTHING}; try skip or KL annealing",
        ),
        (
            results(0, 8, 0.007, 0.006, change=1.8),
            {},
            "0 of 8 units active, 8 collapsed; KL 0.007 nats; decoder only: the decoder listens (log p(x|z) moves by "
            f"1.80 ± 0.02 when z is exchanged between examples), but {NOTHING}; try skip or KL annealing",
        ),
        (
            results(0, 8, 2.4, 0.006, change=0.0),
            {},
            f"0 of 8 units active, 8 collapsed; KL 2.4 nats; full collapse: {NOTHING} and the decoder ignores z "
            "(log p(x|z) moves by 0.00 ± 0.00 when z is exchanged between examples); the KL carries no information: "
            "the posterior is alike for all x, away from the prior; try skip or KL annealing",
        ),
        (  # the same of a decoder that would use z, had the encoder anything to tell it
            results(0, 8, 2.4, 0.006, change=0.02, by_prior=1.8),
            {},
            "0 of 8 units active, 8 collapsed; KL 2.4 nats; decoder only: the decoder listens (log p(x|z) moves by "
            "0.020 ± 0.000 when z is exchanged between examples, but by 1.80 ± 0.02 when it is drawn from the prior), "
            f"but {NOTHING}; the KL carries no information: the posterior is alike for all x, away from the prior; "
            "try skip or KL annealing",
        ),
        (
            results(8, 8, 4.0, 2.0, change=0.02, by_prior=1.8),
            {},
            "8 of 8 units active; KL 4.0 nats; encoder only: MI 2.00 ± 0.02, but the decoder does not use it (log "
            "p(x|z) moves by 0.020 ± 0.000 when z is exchanged between examples, but by 1.80 ± 0.02 when it is drawn "
            "from the prior); try skip or KL annealing",
        ),
        (
            results(8, 8, 4.0, 2.0, change=0.02),
            {},
            "8 of 8 units active; KL 4.0 nats; encoder only: MI 2.00 ± 0.02, but the decoder ignores z (log p(x|z) "
            "moves by 0.020 ± 0.000 when z is exchanged between examples); try skip or KL annealing",
        ),
        (
            results(32, 32, 1.5, 1.2, change=2.0),
            {"skip": True},
            "32 of 32 units active; KL 1.5 nats, under 0.1 for each active unit; both sides use z: MI 1.20 ± 0.02, and "
            "the decoder loses 1.80 ± 0.02 when z is exchanged between examples; try KL annealing or free bits",
        ),
        (
            results(3, 4),
            {"skip": True, "annealed": True, "free_bits": True},
            f"3 of 4 units active, 1 collapsed; KL 10.0 nats; {BOTH}; try a smaller latent_dim",
        ),
        (
            results(20, 20, 16.0, 6.19, change=None, num_examples=500),
            {},
            "20 of 20 units active, none collapsed; KL 16.0 nats; "
            "MI is at its ceiling 6.21 and could be more: use a larger split",
        ),
        ({"elbo": -90.0, "nll": 89.0}, {}, "no latent variables, so nothing that could collapse"),
    ],
)
def test_each_case_is_worded(found: dict[str, Any], tried: dict[str, bool], line: str) -> None:
    assert verdict(found, **({"skip": False} | tried)) == line


@given(
    active=st.integers(0, 50),
    kl=st.floats(0, 1e4) | st.just(math.nan),
    mi=st.floats(-1, 20),
    change=st.none() | st.floats(0, 1e5),
    skip=st.booleans(),
)
def test_always_one_line(active: int, kl: float, mi: float, change: float | None, skip: bool) -> None:
    line = verdict(results(active, 50, kl, mi, change), skip)
    assert "\n" not in line
    assert ("full collapse:" in line) == (change is not None and change <= 0.1 and mi <= 0.1)
    assert ("ignores z" in line) == (change is not None and change <= 0.1)
    assert ("try" not in line) == ("none collapsed" in line)
