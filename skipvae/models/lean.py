"""A LightningModule whose steps cost less: what Lightning and clipping need not do for each of them."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pytorch_lightning import LightningModule
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from skipvae.cpu import tune_process


class LeanModule(LightningModule):
    """Does what its base class does, in less time per step; see the overhead in `benchmarks/README.md`."""

    def __setattr__(self, name: str, value: Any) -> None:
        """As everywhere, but for the name of the current hook, which Lightning sets forty times a step."""
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)  # a string: no weight, buffer or module to look for
        else:
            super().__setattr__(name, value)

    def setup(self, stage: str) -> None:
        """Spares what the run's device and profiler allow to spare."""
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
        """Clips as the trainer is told to, also the gradients of a fused optimiser in bf16-mixed.

        A fused optimiser scales gradients by itself as it reads them, which saves a pass over them.
        """
        precision, strategy = self.trainer.precision_plugin, self.trainer.strategy
        unscaled = getattr(precision, "scaler", None) is None
        by_norm = gradient_clip_algorithm in (None, "norm")
        whole = type(strategy) in (SingleDeviceStrategy, DDPStrategy)  # others hold parts of the gradients
        if gradient_clip_val and by_norm and unscaled and whole and _scales_gradients(optimizer):
            norm = get_total_norm(
                [weight.grad for weight in precision.main_params(optimizer) if weight.grad is not None]
            )
            optimizer.grad_scale = ((norm.float() + 1e-6) / gradient_clip_val).clamp(min=1.0)  # type: ignore[attr-defined]
        # Lightning refuses mixed precision with a fused optimiser since a scaler would be in the way; bf16 has none.
        elif gradient_clip_val and unscaled and isinstance(precision, MixedPrecision):
            clip = precision.clip_grad_by_norm if by_norm else precision.clip_grad_by_value
            clip(optimizer, gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)


def _scales_gradients(optimizer: Optimizer) -> bool:
    """Whether its step divides the gradients by `grad_scale`, which is how torch's GradScaler asks fused ones to."""
    able = getattr(optimizer, "_step_supports_amp_scaling", False)
    return able and all(group["fused"] for group in optimizer.param_groups)  # which a checkpoint may have changed


class _NoProfiler(PassThroughProfiler):
    """Profiles nothing, and without a generator for each of the fifty things that it does not profile in a step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._nothing
