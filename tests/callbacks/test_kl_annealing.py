"""The weight of the KL: shapes of the curves, and that a resumed run continues the curve of the straight one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from pytorch_lightning.loggers.logger import Logger

from skipvae.callbacks import CyclicalKLAnnealing, FixedKLWeight, LinearKLAnnealing
from skipvae.training.epochs import EpochLengths
from tests.callbacks.tiny import make_loader, make_model, make_trainer

weights = st.floats(0, 10)
steps = st.integers(0, 10_000)
EPOCHS = EpochLengths(1)


class Record(Logger):
    """Keeps one logged value by step."""

    name, version = "record", 0

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key, self.values = key, {}

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if self.key in metrics:
            self.values[step] = metrics[self.key]


@given(start=weights, end=weights, warmup=st.integers(0, 5000), step=steps)
def test_linear_stays_between_its_ends_and_never_turns(start: float, end: float, warmup: int, step: int) -> None:
    weight = LinearKLAnnealing(start, end, warmup_steps=warmup).weight
    now, later = weight(step, EPOCHS), weight(step + 1, EPOCHS)
    assert min(start, end) <= now <= max(start, end)
    assert (later - now) * (end - start) >= 0
    if step >= warmup:
        assert now == end
    elif step == 0:
        assert now == start


@given(period=st.integers(1, 500), cycles=st.integers(1, 8), ratio=st.floats(0, 1), step=st.integers(0, 499))
def test_cycles_are_exactly_alike(period: int, cycles: int, ratio: float, step: int) -> None:
    weight = CyclicalKLAnnealing(cycles, ratio, total_steps=period * cycles).weight
    curves = [weight(cycle * period + step % period, EPOCHS) for cycle in range(cycles)]
    assert curves == [curves[0]] * cycles
    assert 0 <= curves[0] <= 1
    assert weight(period * cycles, EPOCHS) == 1.0


def test_cyclical_is_the_published_formula() -> None:
    # beta_t = min(tau / R, 1), tau = mod(t, T / M) / (T / M) with T = 1000 iterations, M = 4 cycles, R = 0.5
    weight = CyclicalKLAnnealing(total_steps=1000).weight
    for t in range(1000):
        assert weight(t, EPOCHS) == pytest.approx(min((t % 250) / 250 / 0.5, 1.0), abs=1e-12)


@given(epochs=st.integers(0, 50), steps_per_epoch=st.integers(1, 100), step=steps)
def test_an_epoch_is_its_steps(epochs: int, steps_per_epoch: int, step: int) -> None:
    length = epochs * steps_per_epoch
    for by_epoch, by_step in (
        (LinearKLAnnealing(warmup_epochs=epochs), LinearKLAnnealing(warmup_steps=length)),
        (CyclicalKLAnnealing(total_epochs=epochs), CyclicalKLAnnealing(total_steps=length)),
    ):
        assert by_epoch.weight(step, EpochLengths(steps_per_epoch)) == by_step.weight(step, EPOCHS)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearKLAnnealing(),
        lambda: LinearKLAnnealing(warmup_steps=3, warmup_epochs=1),
        lambda: LinearKLAnnealing(warmup_steps=-1),
        lambda: LinearKLAnnealing(start=-0.1, warmup_steps=1),
        lambda: LinearKLAnnealing(end=float("nan"), warmup_steps=1),
        lambda: CyclicalKLAnnealing(total_epochs=float("inf")),
        lambda: CyclicalKLAnnealing(),
        lambda: CyclicalKLAnnealing(cycles=0, total_steps=1),
        lambda: CyclicalKLAnnealing(ratio=1.5, total_steps=1),
        lambda: FixedKLWeight(-1),
        lambda: LinearKLAnnealing(warmup_epochs=1).weight(0, EpochLengths(0)),
    ],
)
def test_impossible_settings_are_refused_in_one_line(make: Any) -> None:
    with pytest.raises(ValueError, match=r"^.+$") as error:
        make()
    assert "\n" not in str(error.value)


def logged_betas(folder: Path, callback: Any, *, max_steps: int, resume: Path | None = None, **options: Any) -> Any:
    record = Record("train/beta")
    trainer = make_trainer(folder, callback, logger=record, max_epochs=-1, max_steps=max_steps, **options)
    trainer.fit(make_model(), make_loader(20), ckpt_path=resume)
    return record.values, trainer


@pytest.mark.parametrize(
    "make", [lambda: LinearKLAnnealing(warmup_epochs=2), lambda: CyclicalKLAnnealing(cycles=3, total_epochs=2.5)]
)
def test_a_resumed_run_continues_the_curve(tmp_path: Path, make: Any) -> None:
    straight, _ = logged_betas(tmp_path, make(), max_steps=14)
    before, trainer = logged_betas(tmp_path, make(), max_steps=7)  # 5 steps make an epoch: in the midst of one
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    after, _ = logged_betas(tmp_path, make(), max_steps=14, resume=tmp_path / "half.ckpt")
    assert sorted(straight) == list(range(14)), "every step logs its weight"
    assert len(set(straight.values())) > 4, "the curve moves"
    assert before | after == straight
    assert not before.keys() & after.keys()


def test_epochs_count_optimiser_steps_not_batches(tmp_path: Path) -> None:
    # 5 batches by twos are 3 steps: two epochs of warm-up end after 6 steps.
    annealing = LinearKLAnnealing(start=0.0, warmup_epochs=2)
    betas, trainer = logged_betas(tmp_path, annealing, max_steps=8, accumulate_grad_batches=2)
    assert trainer.global_step == 8
    assert annealing.state_dict() == {"batches": 5, "accumulation": {0: 2}}
    assert max(betas.values()) == 1.0


@pytest.mark.parametrize("warmup", [2, 4.5])
def test_a_warm_up_lasts_its_epochs_where_accumulation_changes(tmp_path: Path, warmup: float) -> None:
    # 5 batches: 1 step in each of the first four epochs, then 5.
    annealing, table = LinearKLAnnealing(start=0.0, warmup_epochs=warmup), GradientAccumulationScheduler({0: 5, 4: 1})
    record = Record("train/beta")
    make_trainer(tmp_path, annealing, table, logger=record, max_epochs=6).fit(make_model(), make_loader(20))
    total = {2: 2, 4.5: 4 + 2.5}[warmup]
    assert record.values == pytest.approx({step: min(1.0, step / total) for step in range(14)})


def test_epochs_stay_as_long_as_when_the_run_began(tmp_path: Path) -> None:
    straight, _ = logged_betas(tmp_path, LinearKLAnnealing(start=0.0, warmup_epochs=3), max_steps=14)
    _, trainer = logged_betas(tmp_path, LinearKLAnnealing(start=0.0, warmup_epochs=3), max_steps=5)
    trainer.save_checkpoint(tmp_path / "epoch.ckpt")
    record = Record("train/beta")
    trainer = make_trainer(
        tmp_path, LinearKLAnnealing(start=0.0, warmup_epochs=3), logger=record, max_epochs=-1, max_steps=14
    )
    trainer.fit(make_model(), make_loader(20, batch_size=2), ckpt_path=tmp_path / "epoch.ckpt")
    assert record.values == {step: straight[step] for step in range(5, 14)}


def test_evaluation_uses_weight_one(tmp_path: Path) -> None:
    bounds = []
    for beta in (0.0, 1.0):
        model = make_model(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
        trainer = make_trainer(tmp_path, FixedKLWeight(beta))
        torch.manual_seed(2)
        trainer.fit(model, make_loader(), make_loader())
        assert model.beta == beta
        bounds.append(float(trainer.callback_metrics["val/elbo"]))
    assert bounds[0] == bounds[1]


def test_two_weights_at_once_are_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, FixedKLWeight(0.5), LinearKLAnnealing(warmup_steps=2))
    with pytest.raises(ValueError, match="FixedKLWeight and LinearKLAnnealing"):
        trainer.fit(make_model(), make_loader())
