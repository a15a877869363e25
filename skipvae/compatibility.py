"""Private and undocumented parts of other packages that we rely on: all of them, each with its reason.

A new version of Lightning, torch, torchmetrics or TensorBoard may change them without notice: a test of each in
`tests/test_compatibility.py` says which one changed. Nothing else in `skipvae/` uses what a package does not document.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.profilers import PassThroughProfiler, Profiler
from torch import Tensor
from torch.export._patches import register_lstm_while_loop_decomposition
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter
from torchmetrics import Metric

# -- Lightning --------------------------------------------------------------------------------------------------------

CURRENT_HOOK = "_current_fx_name"
"""The attribute of a LightningModule that names the hook at work, for `log`: Lightning sets it forty times a step."""

RESTORING = ("resume_start", "restore_training_state", "_restore_modules_and_callbacks", "load_state_dict")
"""Functions, Lightning's and ours, in which an error comes from what a checkpoint says of the training state.

Lightning lets errors of damaged checkpoints through as they are; the traceback alone tells where they come from.
"""
BUILDING = ("instantiate_classes", "configure_optimizers")
"""Functions in which an error comes from what a config asks for."""


def replace_empty_profiler(trainer: Trainer, profiler: Profiler) -> None:
    """Gives a trainer another profiler where its user chose none; a Trainer takes one only when it is made.

    Lightning's empty profiler makes a generator for each of the fifty things that it does not profile in a step.
    """
    if type(trainer.profiler) is PassThroughProfiler:  # type: ignore[attr-defined]
        trainer.profiler = profiler  # type: ignore[attr-defined]


def log_step(trainer: Trainer) -> None:
    """Hands what the current step has logged to the loggers, in a hook that runs before Lightning does so itself.

    A checkpoint that is saved in `on_train_batch_end` would otherwise be ahead of the logs: a kill right after it loses
    the metrics of that step, which the resumed run does not repeat.
    """
    trainer._logger_connector.update_train_step_metrics()


def cluster_environment(trainer: Trainer) -> ClusterEnvironment | None:
    """The environment that started the processes; a public attribute of the strategies for several devices alone."""
    return trainer._accelerator_connector.cluster_environment


def save_at_epoch_end(callback: ModelCheckpoint, choice: bool | None) -> None:
    """Sets when a callback saves: at the end of the training epoch (True) or of validation (False); None is automatic.

    The public way is an argument of the constructor, but whether an epoch is cut short is known only during training.
    """
    callback._save_on_train_epoch_end = choice


class ConfigOnlyCLI(LightningCLI):
    """A LightningCLI whose config is never changed by what a checkpoint holds.

    Lightning merges `hyper_parameters` of the file behind --ckpt_path into the config, above what the user typed.
    """

    def _parse_ckpt_path(self) -> None:
        pass


# -- torch ------------------------------------------------------------------------------------------------------------


@contextmanager
def lstm_lengths_stay_free() -> Iterator[None]:
    """A context in which torch.export keeps the number of steps of an LSTM free.

    Outside of it torch.export unrolls the steps of its example and refuses any other number. torch.onnx.export uses the
    same context, but not for every network.
    """
    with register_lstm_while_loop_decomposition():
        yield


def noise_generators(device: torch.device) -> list[torch.Generator]:
    """The generators that noise on a device is drawn from: the CPU's, and the GPU's where it is one.

    `torch.manual_seed` and `fork_rng` look for every kind of device, which takes longer than a step of a small model.
    """
    if device.type != "cuda":
        return [torch.default_generator]
    return [torch.default_generator, torch.cuda.default_generators[device.index or 0]]


def takes_scaled_gradients(optimizer: Optimizer) -> bool:
    """Whether Lightning and torch's GradScaler leave it to an optimiser's step to undo the scale of the gradients."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def divides_gradients(optimizer: Optimizer) -> bool:
    """Whether an optimiser's step divides the gradients by `grad_scale`, which torch's GradScaler has fused ones do."""
    # Loading the state of an optimiser may change the groups, but not what it says of itself.
    return takes_scaled_gradients(optimizer) and all(group.get("fused") for group in optimizer.param_groups)


def divide_gradients_in_next_step(optimizer: Optimizer, divisor: Tensor, clear: bool) -> None:
    """Has the next step of an optimiser divide the gradients by a scalar, without a pass of its own over them.

    Args:
        optimizer: one that `divides_gradients`.
        divisor: a scalar on the device of the weights.
        clear: whether to remove the divisor after the step; torch's GradScaler, where one is used, does so itself.
    """
    optimizer.grad_scale = divisor  # type: ignore[attr-defined]
    if clear:

        def remove(*_: object) -> None:
            del optimizer.grad_scale  # type: ignore[attr-defined]
            handle.remove()

        handle = optimizer.register_step_post_hook(remove)


def cpu_computes_bfloat16() -> bool:
    """Whether oneDNN computes in bfloat16 on this CPU; elsewhere its LSTM refuses the type."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


# -- torchmetrics -----------------------------------------------------------------------------------------------------


class MergingMetric(Metric):
    """A metric that can tidy its state whenever torchmetrics has put the states of two batches into one.

    `merge_state` and `forward` concatenate lists: without this, `forward` would add an entry per call.
    """

    def on_merge(self) -> None:
        """Called after two states have become one."""

    def _reduce_states(self, incoming_state: dict[str, Any]) -> None:
        super()._reduce_states(incoming_state)
        self.on_merge()


# -- TensorBoard ------------------------------------------------------------------------------------------------------


def write_hparams(writer: SummaryWriter, settings: Mapping[str, bool | int | float | str], trial: str) -> None:
    """Writes the settings of a run for the hparams tab, without a list of the tab's columns.

    `SummaryWriter.add_hparams` writes such a list, which hides the settings that only other runs have, and opens a
    second file for each run. The documented module of the plug-in needs TensorFlow; this one does not.

    Args:
        writer: of the run.
        settings: name -> value.
        trial: what tells the run apart from others with the same settings, which the tab would average.
    """
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    events: Any = writer
    events._get_file_writer().add_summary(hparams_pb(dict(settings), trial_id=trial))


def read_scalars(path: str, tags: set[str]) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by tag of the scalars in an event file, in the order written; there is no documented reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(path, size_guidance={"scalars": 0, "images": 1, "histograms": 1, "tensors": 1})
    events.Reload()
    found = tags & set(events.Tags()["scalars"])
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in found}
