"""The norm of the gradients and the learning rates of a step, for the loggers."""

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from skipvae.compatibility import takes_scaled_gradients


def gradient_norm(module: LightningModule, optimizer: Optimizer) -> Tensor:
    """The norm of the loss's gradient w.r.t. all weights of an optimiser, a scalar that nothing has waited for.

    Under strategies that shard the gradients it is the norm of those that this process holds.

    Args:
        module: under its trainer, between the backward pass and the step.
        optimizer: of the weights.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = get_total_norm([weight.grad for weight in weights if weight.grad is not None]).float()
    scaler = getattr(module.trainer.precision_plugin, "scaler", None)
    if scaler is not None and takes_scaled_gradients(optimizer):  # the gradients are those of the scaled loss
        norm = norm / scaler.scale(torch.ones_like(norm))
    return norm


def learning_rates(optimizer: Optimizer) -> dict[str, float]:
    """The learning rate by the name to log it under; with a number where the groups of weights have several.

    Example:
        >>> groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.5)]
        >>> learning_rates(torch.optim.SGD(groups[:1])), learning_rates(torch.optim.SGD(groups))
        ({'train/learning_rate': 0.1}, {'train/learning_rate_0': 0.1, 'train/learning_rate_1': 0.5})
    """
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    if len(set(rates)) == 1:
        return {"train/learning_rate": rates[0]}
    return {f"train/learning_rate_{index}": rate for index, rate in enumerate(rates)}
