"""A LightningModule whose steps cost less: what Lightning and clipping need not do for each of them."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch.amp import GradScaler
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from skipvae.training.cpu_tuning import tune_process


class LeanModule(LightningModule):
    """Does what its base class does, in less time per step; see the overhead in `benchmarks/README.md`."""

    def __setattr__(self, name: str, value: Any) -> None:
        """As everywhere, but for the name of the current hook, which Lightning sets forty times a step."""
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)  # a string: no weight, buffer or module to look for
        else:
            super().__setattr__(name, value)

    def setup(self, stage: str) -> None:
        """Tunes a process that computes on the CPU; drops Lightning's empty profiling where no profiler was chosen."""
        if self.trainer.strategy.root_device.type == "cpu":
            tune_process()
        if type(self.trainer.profiler) is PassThroughProfiler:  # type: ignore[attr-defined]
            self.trainer.profiler = _NoProfiler()  # type: ignore[attr-defined]

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips as the trainer is told to; where nothing of that is overridden, a fused optimiser clips in its step.

        This saves a pass over the gradients, which stay as they were until then, and serves mixed precision, where
        Lightning refuses to clip for a fused optimiser.
        """
        precision, by_norm = self.trainer.precision_plugin, gradient_clip_algorithm in (None, "norm")
        if (
            gradient_clip_val
            and gradient_clip_val > 0
            and by_norm
            and _divides_gradients(optimizer)
            and type(self).configure_gradient_clipping is LeanModule.configure_gradient_clipping
            and type(self).clip_gradients is LightningModule.clip_gradients
            and type(precision) in (Precision, MixedPrecision)  # float64 would lose digits to a factor in float32
            and type(self.trainer.strategy) in (SingleDeviceStrategy, DDPStrategy)  # others hold parts of the gradients
        ):
            _clip_in_step(optimizer, gradient_clip_val, getattr(precision, "scaler", None))
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)


def _divides_gradients(optimizer: Optimizer) -> bool:
    """Whether its step divides the gradients by its `grad_scale`, as torch's GradScaler asks fused optimisers to."""
    able = getattr(optimizer, "_step_supports_amp_scaling", False)
    # Loading the state of an optimiser may change the groups, but not what it says of itself.
    return able and all(group.get("fused") for group in optimizer.param_groups)


def _clip_in_step(optimizer: Optimizer, limit: float, scaler: GradScaler | None) -> None:
    """Has the optimiser's next step, and that one alone, clip the norm of the gradients."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = get_total_norm([weight.grad for weight in weights if weight.grad is not None]).float()
    if scaler is not None:  # the gradients are those of the scaled loss
        norm = norm / scaler.scale(torch.ones_like(norm))
    # clip_grad_norm_ multiplies by min(1, limit / (norm + 1e-6)).
    optimizer.grad_scale = ((norm + 1e-6) / limit).clamp(min=1.0)  # type: ignore[attr-defined]
    if scaler is None:  # it multiplies by its own scale, and clears up after the step

        def forget(*_: object) -> None:
            del optimizer.grad_scale  # type: ignore[attr-defined]
            handle.remove()

        handle = optimizer.register_step_post_hook(forget)


class _NoProfiler(PassThroughProfiler):
    """Profiles nothing, and without a generator for each of the fifty things that it does not profile in a step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._nothing
