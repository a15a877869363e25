import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from torch.utils.data import DataLoader, TensorDataset

from skipvae.callbacks import BestAndLast
from skipvae.training.schedulers import HalveOnPlateau
from tests.models.scripted import NUM_BATCHES, SETTINGS, Kept, Scripted, batches, fit

# -- optimisers -------------------------------------------------------------------------------------------------------


def test_the_optimiser_is_the_one_that_was_asked_for() -> None:
    assert isinstance(Scripted().configure_optimizers(), torch.optim.Adam)
    model = Scripted(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.3))
    assert model.configure_optimizers().defaults["lr"] == 0.3


def test_the_scheduler_steps_once_per_epoch(tmp_path: Path) -> None:
    model = Scripted(
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.1),
    )
    trainer = fit(model, tmp_path, max_epochs=2)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.001)


def test_a_scheduler_that_watches_a_metric_watches_the_elbo(tmp_path: Path) -> None:
    model = Scripted(
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0),  # so that nothing ever improves
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0),
    )
    trainer = fit(model, tmp_path, max_epochs=2)
    assert trainer.lr_scheduler_configs[0].monitor == "val/elbo"


def test_a_plateau_scheduler_must_know_that_more_is_better(tmp_path: Path) -> None:
    model = Scripted(lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau)
    with pytest.raises(ValueError, match="mode: max"):
        fit(model, tmp_path)


def test_a_plateau_scheduler_needs_no_validation_in_every_epoch(tmp_path: Path) -> None:
    model = Scripted(lr_scheduler=lambda optimizer: HalveOnPlateau(optimizer, min_epochs=1, min_lr=0.0))
    trainer = fit(model, tmp_path, max_epochs=4, check_val_every_n_epoch=2, callbacks=[])
    assert trainer.lr_scheduler_configs[0].scheduler.last_epoch == 2


# -- precision --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_weights_in_half_precision_are_refused_and_the_way_out_named(precision: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"use {precision[:-5]}-mixed"):
        fit(Scripted(), tmp_path, precision=precision)


# -- modes ------------------------------------------------------------------------------------------------------------


def test_a_model_that_was_loaded_trains_with_its_dropout_again(tmp_path: Path) -> None:
    class Watches(pl.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            modes.append((pl_module.encoder.training, pl_module.decoder.training))

    modes: list[tuple[bool, bool]] = []
    fit(Scripted().eval(), tmp_path, callbacks=[Watches()])
    assert set(modes) == {(True, True)}
    modes.clear()
    model = Scripted()
    model.encoder.eval()  # as of one who freezes a part
    fit(model, tmp_path, callbacks=[Watches()])
    assert set(modes) == {(False, True)}


# -- parts of a step --------------------------------------------------------------------------------------------------


class Listens(Scripted):
    """Notes the noise, the first entry, and the loss of each batch."""

    def loss(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.heard = [*getattr(self, "heard", []), (float(torch.rand(())), float(x.sum()))]
        terms = super().loss(x)
        self.losses = [*getattr(self, "losses", []), float(terms["loss"].detach())]
        return terms


def test_each_part_of_a_step_has_noise_of_its_own_and_counts_in_the_mean(tmp_path: Path) -> None:
    pl.seed_everything(1)
    logger, model = Kept(), Listens(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    fit(model, tmp_path, logger=logger, accumulate_grad_batches=2)
    assert len({noise for noise, _ in model.heard}) == NUM_BATCHES
    means = [sum(model.losses[i : i + 2]) / 2 for i in range(0, NUM_BATCHES, 2)]
    assert list(logger.series("train/loss").values()) == pytest.approx(means)


def test_nothing_is_saved_in_the_midst_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    monkeypatch.setattr(BestAndLast, "_save_last", lambda self, trainer: saved.append(trainer.global_step))
    fit(Scripted(), tmp_path, callbacks=[BestAndLast(every_n_train_steps=1)], accumulate_grad_batches=2)
    assert saved == [1, 2, 3]


def test_a_loader_that_shuffles_has_another_order_in_each_epoch(tmp_path: Path) -> None:
    pl.seed_everything(1)
    model = Listens()
    x = torch.arange(24.0).view(24, 1, 1, 1).expand(24, 1, 2, 2) / 24
    loader = DataLoader(TensorDataset(x), batch_size=4, shuffle=True)
    trainer = pl.Trainer(**(SETTINGS | {"max_epochs": 3}), logger=False, default_root_dir=tmp_path, callbacks=[])
    trainer.fit(model, loader, batches())
    sums = [total for _, total in model.heard]
    orders = {tuple(sums[i : i + NUM_BATCHES]) for i in range(0, len(sums), NUM_BATCHES)}
    assert len(sums) == 3 * NUM_BATCHES
    assert len(orders) == 3


# -- logs -------------------------------------------------------------------------------------------------------------


def test_each_step_of_an_interval_counts_in_what_is_logged(tmp_path: Path) -> None:
    model, logger = Scripted({step: 10.0**step for step in range(2 * NUM_BATCHES)}), Kept()
    fit(model, tmp_path, logger=logger, log_every_n_steps=4, max_epochs=2)
    means = {last: sum(10.0**step for step in range(last - 3, last + 1)) / 4 for last in (3, 7, 11)}
    assert logger.series("train/kl") == pytest.approx(means)


def test_what_is_logged(tmp_path: Path) -> None:
    logger = Kept()
    model = Scripted()
    model.beta = 0.25
    fit(model, tmp_path, logger=logger)
    assert "mi" in model.results
    assert "decoder_dependence" not in model.results  # another pass of the decoder, which nothing in training asks for
    names = {name for _, metrics in logger.metrics for name in metrics} - {"epoch"}
    train = {"loss", "beta", "elbo", "reconstruction", "kl", "gradient_norm", "learning_rate"}
    assert names == {f"train/{name}" for name in train} | {
        f"val/{name}" for name in ("elbo", "reconstruction", "kl", "mi", "au")
    }
    assert set(logger.series("train/beta").values()) == {0.25}
    loss, kl = logger.series("train/loss"), logger.series("train/kl")
    reconstruction = logger.series("train/reconstruction")
    assert loss == pytest.approx({step: 0.25 * kl[step] - reconstruction[step] for step in loss})
    assert logger.series("train/elbo") == pytest.approx({step: reconstruction[step] - kl[step] for step in loss})


def test_a_resumed_run_logs_what_the_straight_one_does(tmp_path: Path) -> None:
    straight, first, second = Kept(), Kept(), Kept()
    pl.seed_everything(1)
    fit(Scripted(), tmp_path / "straight", logger=straight, log_every_n_steps=4, max_epochs=2)
    pl.seed_everything(1)
    once = {"log_every_n_steps": 4, "default_root_dir": tmp_path}
    trainer = fit(Scripted(), tmp_path, logger=first, **once)  # six steps: the interval of four is cut
    again = {**once, "max_epochs": 2}
    fit(Scripted(), tmp_path, trainer.checkpoint_callback.last_path, logger=second, **again)
    for name in ("train/loss", "train/kl", "train/gradient_norm", "val/elbo"):
        assert straight.series(name) == first.series(name) | second.series(name)


def test_a_model_can_be_fitted_again(tmp_path: Path) -> None:
    model, logger = Scripted({0: 1e30}), Kept()
    fit(model, tmp_path, log_every_n_steps=100)
    fit(model, tmp_path, logger=logger, max_epochs=1, log_every_n_steps=6)
    model.values = {}
    fit(model, tmp_path, logger=logger, max_epochs=1, log_every_n_steps=6)
    assert [metrics["train/kl"] > 1e20 for _, metrics in logger.metrics if "train/kl" in metrics] == [True, False]


def test_results_of_an_interrupted_evaluation_do_not_leak(tmp_path: Path) -> None:
    model = Scripted()
    model.validation_step((torch.zeros(3, 1, 2, 2), torch.zeros(3)), 0)
    fit(model, tmp_path)
    assert model.results["num_examples"] == 4 * NUM_BATCHES


# -- noise ------------------------------------------------------------------------------------------------------------


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.parameters())


def test_the_noise_of_a_run_is_a_function_of_its_seed(tmp_path: Path) -> None:
    def trained(seed: int, waste: int = 0) -> torch.Tensor:
        pl.seed_everything(3)
        model = Scripted()
        pl.seed_everything(seed)
        torch.randn(waste)
        fit(model, tmp_path)
        return weights(model)

    assert torch.equal(trained(1), trained(1, waste=7))
    assert not torch.equal(trained(1), trained(2))


def test_every_step_has_noise_of_its_own(tmp_path: Path) -> None:
    pl.seed_everything(1)
    logger, model = Kept(), Scripted(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    x = torch.ones(4 * NUM_BATCHES, 1, 2, 2)
    same = DataLoader(TensorDataset(x, x), batch_size=4)
    pl.Trainer(**SETTINGS, default_root_dir=tmp_path, logger=logger).fit(model, same, same)
    assert len(set(logger.series("train/reconstruction").values())) == NUM_BATCHES
    assert len(set(logger.series("train/kl").values())) == 1


def test_every_part_of_every_step_has_noise_of_its_own_however_many_there_are(tmp_path: Path) -> None:
    class Listens(Scripted):
        def loss(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            heard.append(float(torch.rand(())))
            return super().loss(x)

    heard: list[float] = []
    pl.seed_everything(1)
    fit(Listens(), tmp_path, max_epochs=3, callbacks=[GradientAccumulationScheduler({0: 3, 1: 1})], limit_val_batches=0)
    assert len(set(heard)) == len(heard) == 3 * NUM_BATCHES


def test_evaluation_noise_belongs_to_the_batch(tmp_path: Path) -> None:
    pl.seed_everything(1)
    model = Scripted()
    trainer = fit(model, tmp_path)
    first = trainer.validate(model, batches(), verbose=False)
    torch.randn(5)
    assert trainer.validate(model, batches(), verbose=False) == first


# -- on a GPU ---------------------------------------------------------------------------------------------------------

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@gpu
def test_on_a_gpu_a_run_that_was_stopped_between_two_writes_of_the_loggers_goes_on(tmp_path: Path) -> None:
    straight, first, second = Kept(), Kept(), Kept()
    settings: dict[str, Any] = {"accelerator": "gpu", "devices": 1, "log_every_n_steps": 4}
    pl.seed_everything(1)
    fit(Scripted(), tmp_path / "straight", logger=straight, max_epochs=2, **settings)
    pl.seed_everything(1)
    trainer = fit(Scripted(), tmp_path, logger=first, **settings)
    last = trainer.checkpoint_callback.last_model_path
    fit(Scripted(), tmp_path, last, logger=second, max_epochs=2, **settings)
    for name in ("train/loss", "val/elbo"):
        assert straight.series(name) == pytest.approx(first.series(name) | second.series(name), rel=1e-5)


@gpu
def test_on_a_gpu_the_step_of_a_bad_loss_is_named_later(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="the kl became nan at step 3:"):
        fit(Scripted({3: math.nan}), tmp_path, accelerator="gpu", devices=1, max_epochs=3, log_every_n_steps=50)
