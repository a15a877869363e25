"""The gradient norm and the learning rate that loggers get."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch.optim import SGD, Optimizer

from skipvae.training.fast_module import SWITCH
from tests.models.scripted import NUM_BATCHES, Kept, Scripted, fit


class Watches(pl.Callback):
    """Notes the norm of the gradients of each step; of a scaled loss, scaled."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Optimizer) -> None:
        squares = [(weight.grad**2).sum() for weight in pl_module.parameters() if weight.grad is not None]
        self.norms.append(float(torch.stack(squares).sum().sqrt()))


def logged(folder: Path, fused: bool, every: int = 1, **options: Any) -> tuple[Kept, list[float]]:
    pl.seed_everything(1)
    logger, watches = Kept(), Watches()
    model = Scripted(optimizer=partial(SGD, lr=0.01, fused=fused))
    fit(model, folder, logger=logger, callbacks=[watches], log_every_n_steps=every, **options)
    return logger, watches.norms


@pytest.mark.parametrize("fast", ["0", "1"])
@pytest.mark.parametrize("fused", [False, True])
def test_the_norm_is_that_before_clipping(tmp_path: Path, monkeypatch: Any, fused: bool, fast: str) -> None:
    monkeypatch.setenv(SWITCH, fast)
    for limit in (None, 1e-3):
        logger, norms = logged(tmp_path, fused, gradient_clip_val=limit)
        assert logger.series("train/gradient_norm") == pytest.approx(dict(enumerate(norms)), rel=1e-4)
        assert min(norms) > 0.1


def test_it_is_computed_only_in_steps_whose_values_are_written(tmp_path: Path, monkeypatch: Any) -> None:
    calls = []
    monkeypatch.setattr("skipvae.models.base.gradient_norm", lambda *_: calls.append(0) or torch.tensor(1.0))
    logger, _ = logged(tmp_path, fused=True, every=4, max_epochs=2)
    assert list(logger.series("train/gradient_norm")) == [3, 7, 11]
    assert len(calls) == 3


@pytest.mark.parametrize("fused", [False, True])
def test_with_a_scaler_it_is_the_norm_of_the_loss_s_gradient(tmp_path: Path, fused: bool) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    logger, _ = logged(tmp_path, fused, plugins=MixedPrecision("16-mixed", "cpu", scaler))
    straight, _ = logged(tmp_path, fused)
    expected = straight.series("train/gradient_norm")
    assert logger.series("train/gradient_norm") == pytest.approx(expected, rel=0.05)


def test_the_learning_rate_follows_its_schedule(tmp_path: Path) -> None:
    logger = Kept()
    halved = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    fit(Scripted(optimizer=partial(SGD, lr=0.01), lr_scheduler=halved), tmp_path, logger=logger, max_epochs=2)
    rates = [0.01] * NUM_BATCHES + [0.005] * NUM_BATCHES
    assert list(logger.series("train/learning_rate").values()) == pytest.approx(rates)
