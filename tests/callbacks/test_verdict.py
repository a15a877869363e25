"""The verdict in words."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipvae.callbacks import verdict


def results(active: int, of: int, kl: float = 10.0, mi: float = 5.0, num_examples: int = 10_000) -> dict[str, Any]:
    return {
        "au": active,
        "kl": kl,
        "kl_per_dim": [kl / of] * of,
        "mi": mi,
        "mi_stderr": 0.02,
        "mi_ceiling": math.log(num_examples),
    }


@pytest.mark.parametrize(
    ("found", "tried", "said"),
    [
        (results(20, 20), {}, "20 of 20 units active, none collapsed; KL 10.0 nats"),
        (results(14, 20, 18.2), {}, "14 of 20 units active, 6 collapsed; KL 18.2 nats; try skip or KL annealing"),
        (
            results(0, 32, 0.007, 0.006),
            {},
            "0 of 32 units active, 32 collapsed; KL 0.007 nats; full collapse: the decoder ignores z; "
            "try skip or KL annealing",
        ),
        (
            results(3, 4),
            {"skip": True},
            "3 of 4 units active, 1 collapsed; KL 10.0 nats; try KL annealing or free bits",
        ),
        (results(3, 4), {"annealed": True}, "3 of 4 units active, 1 collapsed; KL 10.0 nats; try skip or free bits"),
        (
            results(3, 4),
            {"skip": True, "annealed": True, "free_bits": True},
            "3 of 4 units active, 1 collapsed; KL 10.0 nats; try a smaller latent_dim",
        ),
        (
            results(20, 20, 16.0, 6.19, 500),
            {},
            "20 of 20 units active, none collapsed; KL 16.0 nats; "
            "MI is at its ceiling 6.21 and could be more: use a larger split",
        ),
        ({"elbo": -90.0, "nll": 89.0}, {}, "no latent variables, so nothing that could collapse"),
    ],
)
def test_what_is_said(found: dict[str, Any], tried: dict[str, bool], said: str) -> None:
    assert verdict(found, **({"skip": False} | tried)) == said


@given(active=st.integers(0, 50), kl=st.floats(0, 1e4) | st.just(math.nan), mi=st.floats(-1, 20), skip=st.booleans())
def test_always_one_line(active: int, kl: float, mi: float, skip: bool) -> None:
    line = verdict(results(active, 50, kl, mi), skip)
    assert "\n" not in line
    assert ("collapse:" in line) == (active == 0)
    assert ("try" in line) == (active < 50)
