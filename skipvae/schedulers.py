"""Learning rates that follow what validation says."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.types import Number


class HalveOnPlateau(ReduceLROnPlateau):
    """The paper's schedule for text: from the first epoch, at or after `min_epochs`, whose validation is not the best
    so far, the rate halves after every epoch; training ends when it is below `min_lr`.

    Args:
        optimizer: whose learning rates to lower.
        min_epochs: number of the first epoch, counted from 1, that may start the halving; of the epochs with a
            validation, should there be others.
        factor: what the rate is multiplied by.
        min_lr: the training ends when all rates are below it.

    Raises:
        ValueError: if factor is not between 0 and 1.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        >>> scheduler = HalveOnPlateau(optimizer, min_epochs=2, min_lr=0.3)
        >>> for elbo in (-9.0, -8.0, -8.5, -7.0):
        ...     scheduler.step(elbo)
        ...     print(scheduler.get_last_lr(), scheduler.finished)
        [1.0] False
        [1.0] False
        [0.5] False
        [0.25] True
    """

    def __init__(self, optimizer: Optimizer, min_epochs: int = 15, factor: float = 0.5, min_lr: float = 0.03) -> None:
        super().__init__(optimizer, mode="max", factor=factor)
        self.min_epochs, self.end_below, self.halving = min_epochs, min_lr, False

    def step(self, metrics: Number, epoch: int | None = None) -> None:  # type: ignore[override]
        """Takes in the validation ELBO of an epoch."""
        value = float(metrics)
        self.last_epoch += 1
        self.halving = self.halving or (self.last_epoch >= self.min_epochs and not value > self.best)
        self.best = max(value, self.best)
        if self.halving:
            for group in self.optimizer.param_groups:
                group["lr"] *= self.factor
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]

    @property
    def finished(self) -> bool:
        """Whether training is to end."""
        return all(rate < self.end_below for rate in self._last_lr)
