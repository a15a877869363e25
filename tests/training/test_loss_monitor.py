import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn

from skipvae.callbacks import BestAndLast
from skipvae.models import GenerativeModel
from tests.models.scripted import Scripted, fit

# -- losses that are no numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "value"), [("kl", math.nan), ("kl", math.inf), ("reconstruction", math.nan), ("reconstruction", -math.inf)]
)
def test_a_loss_that_is_no_number_stops_training_and_names_step_and_term(tmp_path: Path, term: str, value: Any) -> None:
    model = Scripted({8: value}, term)
    with pytest.raises(FloatingPointError, match=rf"the {term} became {value} at step 8: .*learning rate"):
        fit(model, tmp_path, max_epochs=3, callbacks=[BestAndLast(every_n_train_steps=1)])
    last = tmp_path / "checkpoints" / "last.ckpt"
    saved = torch.load(last, weights_only=True)
    assert saved["global_step"] == 8
    assert all(weight.isfinite().all() for weight in saved["state_dict"].values())


def test_weights_that_are_no_numbers_reach_no_checkpoint(tmp_path: Path) -> None:
    model = Scripted()

    class Poison(pl.Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            if trainer.global_step == 3:  # the loss was fine, the gradient is not
                pl_module.decoder.output.hidden.bias.grad.fill_(math.nan)

    with pytest.raises(FloatingPointError, match=r"decoder.output.hidden.bias is no longer finite after step 3"):
        fit(model, tmp_path, callbacks=[BestAndLast(every_n_train_steps=1), Poison()])
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 3


def test_a_buffer_may_hold_infinities(tmp_path: Path) -> None:
    model = Scripted()
    model.encoder.register_buffer("mask", torch.full((2, 2), -math.inf))
    fit(model, tmp_path)
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_terms_that_change_their_order_are_refused(tmp_path: Path) -> None:
    class Shuffles(Scripted):
        def loss(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            terms = super().loss(x)
            return dict(reversed(terms.items())) if self.global_step == 3 else terms

    with pytest.raises(ValueError, match="of step 3 has the terms"):
        fit(Shuffles(), tmp_path, log_every_n_steps=5)


class Waiting:
    """Stands in for a model on a device where reading a value means waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log_every_n_steps: int) -> None:
        monkeypatch.setattr(Scripted, "device", torch.device("cuda"))
        self.model = Scripted()
        alone = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
        self.trainer = SimpleNamespace(
            global_step=0,
            log_every_n_steps=log_every_n_steps,
            world_size=1,
            strategy=alone,
            state=SimpleNamespace(fn=TrainerFn.FITTING),
        )
        self.logged: list[dict[str, torch.Tensor]] = []
        monkeypatch.setattr(GenerativeModel, "trainer", self.trainer)
        monkeypatch.setattr(GenerativeModel, "global_step", property(lambda _: self.trainer.global_step))

    def step(self, kl: float) -> None:
        terms = {"loss": torch.tensor(kl), "reconstruction": torch.tensor(0.0), "kl": torch.tensor(kl)}
        means = self.model.loss_monitor.record(self.model, torch.zeros(1), terms)
        if means is not None:
            self.logged.append(means)
        self.trainer.global_step += 1


def test_elsewhere_than_on_the_cpu_the_first_bad_step_is_named_at_the_next_logging_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = Waiting(monkeypatch, log_every_n_steps=5)
    waiting.step(1.0)
    waiting.step(math.nan)
    waiting.step(math.inf)
    waiting.step(2.0)
    assert waiting.logged == []
    with pytest.raises(FloatingPointError, match="kl became nan at step 1:"):
        waiting.step(3.0)


def test_a_process_stops_if_another_one_has_a_bad_step(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(monkeypatch, log_every_n_steps=2)
    monkeypatch.setattr(waiting.trainer.strategy, "reduce_boolean_decision", lambda decision, all: not all)
    waiting.step(1.0)
    with pytest.raises(FloatingPointError, match="in another process"):
        waiting.step(1.0)


@pytest.mark.parametrize("then", ["a checkpoint", "a validation"])
def test_elsewhere_than_on_the_cpu_a_bad_step_is_noticed_before(monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    waiting = Waiting(monkeypatch, log_every_n_steps=100)
    hooks = {
        "a checkpoint": lambda: waiting.model.on_save_checkpoint({"state_dict": {}}),
        "a validation": waiting.model.on_validation_epoch_start,
    }
    waiting.step(1.0)
    hooks[then]()
    waiting.step(math.inf)
    waiting.step(1.0)
    with pytest.raises(FloatingPointError, match="kl became inf at step 1:"):
        hooks[then]()
