"""Schedulers that follow the validation ELBO, and the end of runs whose schedule has finished."""

from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities.types import LRSchedulerConfigType
from torch.optim.lr_scheduler import ReduceLROnPlateau

from skipvae.training.schedulers import HalveAndReload


def scheduler_config(scheduler: Any) -> LRSchedulerConfigType:
    """A scheduler as Lightning takes it: stepped once per epoch, or per validation if it follows the ELBO.

    Raises:
        ValueError: if a plateau scheduler takes a larger ELBO for a worse one.
    """
    if isinstance(scheduler, ReduceLROnPlateau) and scheduler.mode != "max":
        raise ValueError("a plateau scheduler follows val/elbo, of which more is better: give it mode: max")
    # Not strict: `step_plateau_schedulers` steps plateau schedulers, and not every epoch need have a validation.
    return LRSchedulerConfigType(scheduler=scheduler, monitor="val/elbo", strict=False)


def step_plateau_schedulers(trainer: Trainer, elbo: float) -> None:
    """Steps plateau schedulers by the ELBO of the validation that ends an epoch, before its checkpoint is written.

    Lightning would do so afterwards, and a resumed run would miss a step.
    """
    if trainer.sanity_checking or not trainer.is_last_batch:
        return
    for config in trainer.lr_scheduler_configs:
        if isinstance(config.scheduler, HalveAndReload):
            config.scheduler.watch(trainer.lightning_module)
        if isinstance(config.scheduler, ReduceLROnPlateau):
            config.scheduler.step(elbo)
    stop_if_finished(trainer)


def stop_if_finished(trainer: Trainer) -> None:
    """Ends a run whose schedule has finished, or that had stopped early before it was resumed."""
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    finished = any(getattr(scheduler, "finished", False) for scheduler in schedulers)
    early = [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]  # type: ignore[attr-defined]
    if finished or any(
        stopping.stopped_epoch or stopping.wait_count >= max(1, stopping.patience) for stopping in early
    ):
        trainer.should_stop = True
