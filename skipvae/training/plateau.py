"""Schedulers that follow the validation ELBO."""

from pytorch_lightning import Trainer
from torch.optim.lr_scheduler import ReduceLROnPlateau


def step_plateau_schedulers(trainer: Trainer, elbo: float) -> None:
    """Steps plateau schedulers by the ELBO of the validation that ends an epoch, before its checkpoint is written.

    Lightning would do so afterwards, and a resumed run would miss a step.
    """
    if trainer.sanity_checking or not trainer.is_last_batch:
        return
    for config in trainer.lr_scheduler_configs:
        if isinstance(config.scheduler, ReduceLROnPlateau):
            config.scheduler.step(elbo)
    stop_if_finished(trainer)


def stop_if_finished(trainer: Trainer) -> None:
    """Ends a run whose schedule has come to its end."""
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    if any(getattr(scheduler, "finished", False) for scheduler in schedulers):
        trainer.should_stop = True
