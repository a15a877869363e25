"""The private and undocumented parts of other packages are still there and do what `skipvae/compatibility.py` says.

A failure here means that a new version of a package has changed: adapt that file, or lower the bound in pyproject.toml.
"""

import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.profilers import SimpleProfiler
from pytorch_lightning.trainer.connectors.checkpoint_connector import _CheckpointConnector
from torch.optim import SGD, Adagrad, Adam, AdamW
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchmetrics import Metric

from skipvae import compatibility
from tests.models.scripted import Kept

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def changed(package: str, name: str) -> str:
    """The message of a test that fails."""
    return f"{package} {version(package)} has changed {name}: see {name} in skipvae/compatibility.py"


class Logs(LightningModule):
    """Logs each step, and hands it to the loggers early; keeps the attributes that Lightning sets."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.hooks: list[Any] = []
        self.logged_within: list[int] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if name == compatibility.CURRENT_HOOK and "hooks" in vars(self):  # not yet in __init__
            self.hooks.append(value)
        super().__setattr__(name, value)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.log("loss", self.weight)
        return self.weight.square()

    def on_train_batch_end(self, *_: Any) -> None:
        compatibility.log_step(self.trainer)
        self.logged_within.append(len(self.trainer.logger.metrics))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return SGD(self.parameters(), lr=0.1)


def test_the_hook_is_named_and_a_step_can_be_logged_early() -> None:
    model = Logs()
    trainer = Trainer(max_steps=2, log_every_n_steps=1, logger=Kept(), **QUIET)
    trainer.fit(model, DataLoader(torch.zeros(2)))
    assert "training_step" in model.hooks, changed("pytorch_lightning", "CURRENT_HOOK")
    assert model.logged_within[0] == 1, changed("pytorch_lightning", "log_step")


def test_the_empty_profiler_can_be_replaced_and_no_other() -> None:
    ours, theirs = SimpleProfiler(), SimpleProfiler()
    for given, used in ((None, ours), (theirs, theirs)):
        trainer = Trainer(max_steps=1, logger=Kept(), profiler=given, **QUIET)
        compatibility.replace_empty_profiler(trainer, ours)
        trainer.fit(Logs(), DataLoader(torch.zeros(1)))
        assert "[LightningModule]Logs.on_train_batch_end" in used.recorded_durations, changed(
            "pytorch_lightning", "replace_empty_profiler"
        )


def test_functions_that_restore_and_build_have_their_names() -> None:
    connector, (start, state, modules, _) = _CheckpointConnector, compatibility.RESTORING
    assert all(hasattr(connector, name) for name in (start, state, modules)), changed("pytorch_lightning", "RESTORING")
    classes, optimizers = compatibility.BUILDING
    named = hasattr(LightningCLI, classes) and hasattr(LightningModule, optimizers)
    assert named, changed("pytorch_lightning", "BUILDING")


def test_a_trainer_knows_the_environment_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # As within `srun`, where Lightning detects SLURM by itself.
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "fit", "SLURM_NODELIST": "here"}.items():
        monkeypatch.setenv(name, value)
    environment = compatibility.cluster_environment(Trainer(logger=False, **QUIET))
    assert isinstance(environment, SLURMEnvironment), changed("pytorch_lightning", "cluster_environment")


@pytest.mark.parametrize("choice", [True, False])
def test_when_a_checkpoint_is_saved_can_be_chosen_anew(choice: bool) -> None:
    callback = ModelCheckpoint()
    compatibility.save_at_epoch_end(callback, choice)
    own = ModelCheckpoint(save_on_train_epoch_end=choice)
    assert vars(callback).items() >= {"_save_on_train_epoch_end": choice}.items()
    assert vars(callback).keys() == vars(own).keys(), changed("pytorch_lightning", "save_at_epoch_end")


def test_a_checkpoint_does_not_change_the_config() -> None:
    # Lightning's method by that name is still the one that reads hyper-parameters, and its constructor calls it.
    own = getattr(LightningCLI, "_parse_ckpt_path", None)
    read = own is not None and "hyper_parameters" in inspect.getsource(own)
    called = "self._parse_ckpt_path()" in inspect.getsource(LightningCLI.__init__)
    assert read, changed("pytorch_lightning", "ConfigOnlyCLI")
    assert called, changed("pytorch_lightning", "ConfigOnlyCLI")
    assert compatibility.ConfigOnlyCLI._parse_ckpt_path is not own


def test_noise_comes_from_these_generators() -> None:
    for generator in compatibility.noise_generators(torch.device("cpu")):
        generator.manual_seed(3)
    ours = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(ours, torch.rand(2)), changed("torch", "noise_generators")
    assert isinstance(torch.cuda.default_generators, tuple), changed("torch", "noise_generators")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_noise_on_a_gpu_comes_from_these_generators() -> None:
    device = torch.device("cuda")
    for generator in compatibility.noise_generators(device):
        generator.manual_seed(3)
    ours = torch.rand(2, device=device)
    torch.manual_seed(3)
    assert torch.equal(ours, torch.rand(2, device=device)), changed("torch", "noise_generators")


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, Adagrad])
def test_a_fused_optimiser_divides_the_gradients_of_one_step(kind: Any) -> None:
    if kind is Adagrad and not compatibility.divides_gradients(Adagrad([torch.zeros(1)], fused=True)):
        pytest.skip("Adagrad does not before torch 2.12")

    def moves(fused: bool, divisor: float | None) -> list[float]:
        weight = torch.nn.Parameter(torch.zeros(1))
        more = {} if kind is SGD else {"eps": 1.0}
        optimizer = kind([weight], lr=0.1, fused=fused, **more)
        assert compatibility.divides_gradients(optimizer) is fused, changed("torch", "divides_gradients")
        before, found = 0.0, []
        for step in range(2):
            weight.grad = torch.ones(1) / (1 if fused or divisor is None or step else divisor)
            if fused and divisor is not None and step == 0:
                compatibility.divide_gradients_in_next_step(optimizer, torch.tensor(divisor), clear=True)
            optimizer.step()
            found.append(weight.item() - before)
            before = weight.item()
        return found

    assert moves(True, 4.0) == pytest.approx(moves(False, 4.0)), changed("torch", "divide_gradients_in_next_step")
    assert moves(True, 4.0) != pytest.approx(moves(False, None))


def test_onednn_says_whether_it_computes_in_bfloat16() -> None:
    try:
        assert isinstance(compatibility.cpu_computes_bfloat16(), bool)
    except AttributeError:
        pytest.fail(changed("torch", "cpu_computes_bfloat16"))


def test_an_exported_lstm_takes_any_number_of_steps() -> None:
    lstm, name = torch.nn.LSTM(2, 3, batch_first=True), "lstm_lengths_stay_free"
    steps = ({1: torch.export.Dim("steps")},)
    with torch.no_grad(), compatibility.lstm_lengths_stay_free():
        program = torch.export.export(lstm, (torch.zeros(1, 4, 2),), dynamic_shapes=steps)
        x = torch.rand(1, 6, 2)
        found, _ = program.module()(x)
        assert torch.equal(found, lstm(x)[0]), changed("torch", name)


class Lists(compatibility.MergingMetric):
    """The batches seen, and how often states were merged."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.merged = 0

    def update(self, x: torch.Tensor) -> None:
        self.rows.append(x)

    def compute(self) -> torch.Tensor:
        return torch.cat(self.rows)

    def on_merge(self) -> None:
        self.merged += 1


def test_a_metric_notices_that_states_are_merged() -> None:
    assert hasattr(Metric, "_reduce_states"), changed("torchmetrics", "MergingMetric")
    metric, other = Lists(), Lists()
    for _ in range(2):
        metric(torch.zeros(1))
    forward = metric.merged
    assert forward > 0, changed("torchmetrics", "MergingMetric")
    other.update(torch.ones(1))
    metric.merge_state(other)
    assert metric.merged == forward + 1, changed("torchmetrics", "MergingMetric")


def test_tensorboard_files_hold_hparams_and_scalars(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        compatibility.write_hparams(writer, {"skip": True, "lr": 0.1}, trial="a")
        for step in range(3):
            writer.add_scalar("val/elbo", -step, step)
            writer.add_scalar("val/kl", step, step)
    (file,) = tmp_path.iterdir()
    found = compatibility.read_scalars(str(file), {"val/elbo", "val/mi"})
    assert found == {"val/elbo": [(0, 0.0), (1, -1.0), (2, -2.0)]}, changed("tensorboard", "read_scalars")
    assert b"_hparams_/session_start_info" in file.read_bytes(), changed("tensorboard", "write_hparams")
    assert b"_hparams_/experiment" not in file.read_bytes(), changed("tensorboard", "write_hparams")
