"""A resumed run ends with the same weights whatever its trainer, optimizer and precision."""

from pathlib import Path
from typing import Any

import pytest
import torch

from skipvae import VAE
from tests.command_line import QUIET, RUN, TINY, TINY_MODEL, contents, error_of, fit, plain, resume
from tests.same_run import assert_same_run
from tests.training.test_resume import LAST, StopAt, interrupt

pytestmark = pytest.mark.slow


class TwoGroups(VAE):
    """Weights and biases have an optimizer group, and a learning rate, each."""

    def configure_optimizers(self) -> Any:
        groups: tuple[list[torch.nn.Parameter], ...] = ([], [])
        for parameter in self.parameters():
            groups[parameter.ndim > 1].append(parameter)
        return torch.optim.SGD(
            [{"params": groups[0], "lr": 1e-3}, {"params": groups[1], "momentum": 0.9, "lr": 1e-3}], lr=1e-3
        )


class OneCycle(VAE):
    """The schedule is as long as the training."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=1e-3)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=max(steps, 24))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def of_class(model: type) -> list[str]:
    return [f"--model={__name__}.{model.__name__}", *TINY_MODEL]


HALF = ["--trainer.limit_train_batches=0.5"]  # of four: two steps an epoch
SETTINGS = {
    "half of the batches": HALF,
    "float64": ["--trainer.precision=64-true"],
    "an average of the weights": ["--trainer.callbacks=EMAWeightAveraging", "--trainer.callbacks.decay=0.9"],
    "Adafactor": ["--model.optimizer=torch.optim.Adafactor", "--model.optimizer.lr=1e-2"],
    "two groups": of_class(TwoGroups),
    "steps of the whole run": [*of_class(OneCycle), *HALF],
    "reloading": [*HALF, "--trainer.reload_dataloaders_every_n_epochs=1"],
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_resumed_at_the_end_of_an_epoch_and_within_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    for folder in ("straight", "resumed"):
        (tmp_path / folder).mkdir()
    options = SETTINGS[setting]
    monkeypatch.chdir(tmp_path / "straight")
    fit(*options, epochs=4)
    monkeypatch.chdir(tmp_path / "resumed")
    fit(*options, epochs=1)
    with pytest.raises(SystemExit):
        plain(["fit", "--ckpt_path=last", *QUIET, "--trainer.max_epochs=4"], [StopAt(7, interrupt)])
    resume(epochs=4)
    assert_same_run(LAST, tmp_path / "straight" / LAST)


def test_an_average_of_the_weights_that_no_checkpoint_would_hold_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--trainer.callbacks=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01")
    assert "use EMAWeightAveraging" in error_of(capsys, "fit", *TINY, *options)


def test_the_batch_size_finder_leaves_the_run_as_it_began(workspace: Path) -> None:
    options = ("--trainer.callbacks=BatchSizeFinder", "--trainer.callbacks.init_val=25")
    cli = fit(*options, "--trainer.callbacks.max_trials=2", "--trainer.callbacks.steps_per_trial=1")
    assert cli.datamodule.batch_size == 50
    found = contents(RUN / "checkpoints").keys()
    fit()
    assert_same_run(LAST, Path("lightning_logs/tiny/version_1/checkpoints/last.ckpt"))
    assert found == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize("clip", ["0", "0.1"])
def test_the_last_step_of_an_epoch_is_the_mean_of_its_batches(workspace: Path, clip: str) -> None:
    """One batch an epoch, where two would make a step, trains like one batch a step."""
    sgd = ("--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=1e-3", f"--trainer.gradient_clip_val={clip}")
    for batches in (1, 2):
        fit(*sgd, "--trainer.limit_train_batches=1", f"--trainer.accumulate_grad_batches={batches}", epochs=2)
    assert_same_run(LAST, Path("lightning_logs/tiny/version_1/checkpoints/last.ckpt"))
