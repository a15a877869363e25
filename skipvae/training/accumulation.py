"""Gradients accumulated over several batches, where an epoch does not divide into whole groups of them."""

from pytorch_lightning import Trainer
from torch.optim import Optimizer


def average_over_group(trainer: Trainer, optimizer: Optimizer) -> None:
    """Makes the gradients of an epoch's last group the mean over its batches.

    Lightning divides the loss of each batch by `accumulate_grad_batches`, also where the epoch ends before the group
    is full: the gradient would be too small by the factor that is undone here.

    Args:
        trainer: between the last backward pass of the group and the optimizer's step.
        optimizer: of the parameters whose gradients these are.
    """
    wanted = trainer.accumulate_grad_batches
    batches = trainer.fit_loop.batch_idx % wanted + 1
    if batches < wanted:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(wanted / batches)
