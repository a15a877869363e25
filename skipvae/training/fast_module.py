"""Tricks that make a training step cheaper and change no result, and the one switch for all of them.

Each replaces something that Lightning or the C library does in every step: naming the hook at work (`FastModule`),
profiling nothing (`FastModule`), a pass over the gradients to clip them (`clip_in_step`), giving freed memory back to
the system (`skipvae.training.cpu_tuning`). `benchmarks/README.md` says what they gain. `SKIPVAE_FAST_STEPS=0` in the
environment leaves them all out, should one be suspected of doing harm: training then takes Lightning's own ways.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pytorch_lightning import LightningModule
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch.optim import Optimizer

from skipvae.compatibility import CURRENT_HOOK, divide_gradients_in_next_step, divides_gradients, replace_empty_profiler
from skipvae.training.cpu_tuning import tune_process
from skipvae.training.optimization_scalars import gradient_norm

SWITCH = "SKIPVAE_FAST_STEPS"
"""The environment variable that turns the tricks of this file on (1, the default) or off (0)."""


def fast_steps() -> bool:
    """Whether the tricks are on.

    Raises:
        ValueError: if the environment variable is neither 0 nor 1.
    """
    value = os.environ.get(SWITCH, "1")
    if value not in ("0", "1"):
        raise ValueError(f"the environment variable {SWITCH} is {value!r}: set it to 0 or 1, or leave it out")
    return value == "1"


class FastModule(LightningModule):
    """A LightningModule that spares each step some of Lightning's own work."""

    _fast = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute as `nn.Module` does, except that the name of the hook at work is no candidate weight."""
        if name == CURRENT_HOOK and self._fast:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def setup(self, stage: str) -> None:
        """Tunes a process that computes on the CPU; drops Lightning's empty profiling where no profiler was chosen."""
        super().setup(stage)
        self._fast = fast_steps()
        if not self._fast:
            return
        if self.trainer.strategy.root_device.type == "cpu":
            tune_process()
        replace_empty_profiler(self.trainer, _NoProfiler())


def clip_in_step(module: LightningModule, optimizer: Optimizer, limit: float | None, algorithm: str | None) -> bool:
    """Has the next step of a fused optimiser clip the norm of all gradients, as `torch.nn.utils.clip_grad_norm_` would.

    The step divides each gradient by max(1, norm / limit) as it reads it, which saves a pass over the gradients. They
    stay as they were until then. It also works in mixed precision, where Lightning refuses to clip for a fused
    optimiser.

    Args:
        module: under its trainer, between the backward pass and the step.
        optimizer: of the parameters.
        limit: of the norm; None or at most 0 for none.
        algorithm: "norm", which None stands for, or "value".

    Returns:
        False, with nothing done, where the gradients have to be clipped in the usual way.
    """
    precision, strategy = module.trainer.precision_plugin, module.trainer.strategy
    if not (
        fast_steps()
        and limit
        and limit > 0
        and algorithm in (None, "norm")
        and divides_gradients(optimizer)
        and type(module).clip_gradients is LightningModule.clip_gradients
        and type(precision) in (Precision, MixedPrecision)  # float64 would lose digits to a factor in float32
        and type(strategy) in (SingleDeviceStrategy, DDPStrategy)  # others hold parts of the gradients
    ):
        return False
    norm = gradient_norm(module, optimizer)
    # clip_grad_norm_ multiplies by min(1, limit / (norm + 1e-6)); a GradScaler multiplies our divisor by its own scale.
    divide_gradients_in_next_step(
        optimizer, ((norm + 1e-6) / limit).clamp(min=1.0), clear=getattr(precision, "scaler", None) is None
    )
    return True


class _NoProfiler(PassThroughProfiler):
    """Profiles nothing, at no cost."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._nothing
