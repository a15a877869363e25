"""Gradients accumulated over groups of batches, of which the last of an epoch may be smaller than the others."""

from pytorch_lightning import Trainer
from torch.optim import Optimizer


def index_in_group(trainer: Trainer, batch_idx: int) -> int:
    """The index of a batch within its group."""
    return batch_idx % trainer.accumulate_grad_batches


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a batch is the last of its group, so that an optimizer step follows it."""
    return index_in_group(trainer, batch_idx + 1) == 0 or trainer.is_last_batch


def average_over_group(trainer: Trainer, optimizer: Optimizer) -> None:
    """Makes the gradients of an epoch's last group the mean over its batches.

    Lightning divides the loss of each batch by `accumulate_grad_batches`, also where the epoch ends before the group
    is full: the gradient would be too small by the factor that is undone here.

    Args:
        trainer: between the last backward pass of the group and the optimizer's step.
        optimizer: of the parameters whose gradients these are.
    """
    wanted = trainer.accumulate_grad_batches
    batches = index_in_group(trainer, trainer.fit_loop.batch_idx) + 1
    if batches < wanted:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(wanted / batches)
