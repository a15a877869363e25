"""Numbers that are no longer finite: errors that say where they came up and what to do."""

from pytorch_lightning import LightningModule
from torch import Tensor


def check_weights(model: LightningModule) -> None:
    """Raises a FloatingPointError that names the first weight that is not finite before the step at hand."""
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise FloatingPointError(
                f"{name} is no longer finite after step {model.global_step - 1}, since its gradient was not: take the "
                "last good checkpoint, and a lower learning rate or gradient clipping (trainer.gradient_clip_val)"
            )


def check_data(x: Tensor, step: int) -> None:
    """Raises a FloatingPointError if a batch x (B, ...) holds values that are not finite."""
    if not x.isfinite().all():
        raise FloatingPointError(f"the data of step {step} holds NaN or infinity: fix or leave out such examples")
