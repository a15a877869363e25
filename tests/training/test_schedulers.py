"""Schedules inside of training; `tests/parity` compares them with the published ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from skipvae.training.schedulers import HalveAndReload
from tests.command_line import RUN, fit, resume

SCHEDULE = (
    "--model.lr_scheduler=skipvae.schedulers.HalveAndReload",
    "--model.lr_scheduler.patience=1",
    "--model.optimizer=torch.optim.Adam",
    "--model.optimizer.lr=0.3",  # so high that some epochs are worse than others
)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_resumed_run_halves_and_reloads_as_a_straight_one(workspace: Path) -> None:
    straight = fit(*SCHEDULE, epochs=6)
    (scheduler,) = (config.scheduler for config in straight.trainer.lr_scheduler_configs)
    assert 1 <= scheduler.num_halvings <= 5
    fit(*SCHEDULE, epochs=3)
    resume("--name=tiny", epochs=6)
    for name, weight in weights(RUN).items():
        assert torch.equal(weight, weights(RUN.with_name("version_1"))[name]), name


def test_halving_brings_back_the_best_weights_and_forgets_the_moments() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    scheduler = HalveAndReload(optimizer, patience=2)
    scheduler.watch(model)
    states = []
    for elbo in (-3.0, -4.0, -5.0):
        model(torch.randn(4, 2)).square().sum().backward()
        optimizer.step()
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        scheduler.step(elbo)
    assert all(torch.equal(value, states[0][name]) for name, value in model.state_dict().items())
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == 0.05
    again = HalveAndReload(optimizer, patience=2)
    again.load_state_dict(scheduler.state_dict())
    assert again.best_weights.keys() == model.state_dict().keys()
    assert "_model" not in scheduler.state_dict()


def test_the_reference_can_be_renewed_and_epochs_waited_for() -> None:
    def rates(**settings: Any) -> float:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
        scheduler = HalveAndReload(optimizer, patience=2, **settings)
        for elbo in (-1.0, -2.0, -2.0, -1.5, -1.6):
            scheduler.step(elbo)
        return optimizer.param_groups[0]["lr"]

    assert rates() == 0.25  # epochs 3 and 5 halve
    assert rates(renews_reference=True) == 0.5  # -1.5 is better than the -2 of epoch 3
    assert rates(min_epochs=4) == 0.5
    assert rates(min_epochs=6) == 1.0


@pytest.mark.parametrize("settings", [{"patience": 0}, {"max_halvings": 0}])
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        HalveAndReload(torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0), **settings)
