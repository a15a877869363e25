"""Learning rates that follow the validation ELBO."""

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.types import Number


class _OnPlateau(ReduceLROnPlateau):
    """A plateau scheduler with a rule of its own, which lowers all rates by `self.factor`."""

    def get_last_lr(self) -> list[float | Tensor]:
        """The rates of the optimizer's parameter groups."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _lower_rates(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] *= self.factor


class HalveOnPlateau(_OnPlateau):
    """The paper's schedule for text: from the first epoch, at or after `min_epochs`, whose validation is not the best
    so far, the rate halves after every epoch; training ends when it is below `min_lr`.

    Args:
        optimizer: whose learning rates to lower.
        min_epochs: number of the first epoch, counted from 1, that may start the halving; of the epochs with a
            validation, should there be others.
        factor: the rate is multiplied by it.
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
        """Applies the rule to the validation ELBO of an epoch."""
        value = float(metrics)
        self.last_epoch += 1
        self.halving = self.halving or (self.last_epoch >= self.min_epochs and not value > self.best)
        self.best = max(value, self.best)
        if self.halving:
            self._lower_rates()

    @property
    def finished(self) -> bool:
        """Whether training is to end."""
        return all(rate < self.end_below for rate in self.get_last_lr())


class HalveAndReload(_OnPlateau):
    """The schedule of He et al. (2019): after `patience` epochs that are worse than the reference, the rate halves, the
    best weights so far are restored, and the optimizer starts anew; training ends at the last of `max_halvings`.

    An epoch that is as good as the reference starts the count again. The reference is the best ELBO so far; for text it
    also falls to that of the epoch of a halving. A checkpoint holds the best weights as well.

    Args:
        optimizer: whose learning rates to lower, and whose state (the moments of Adam) to forget.
        patience: worse epochs before a halving.
        factor: the rate is multiplied by it.
        max_halvings: after this many the training ends.
        min_epochs: number of the first epoch, counted from 1, that may halve.
        renews_reference: whether the ELBO of the epoch of a halving becomes the reference.

    Raises:
        ValueError: if factor is not between 0 and 1, or patience or max_halvings below 1.

    Example:
        >>> import torch
        >>> model = nn.Linear(1, 1, bias=False)
        >>> scheduler = HalveAndReload(torch.optim.Adam(model.parameters(), lr=1.0), patience=1, max_halvings=2)
        >>> scheduler.watch(model)
        >>> for epoch, elbo in enumerate((-9.0, -8.0, -8.5)):
        ...     _ = nn.init.constant_(model.weight, epoch)
        ...     scheduler.step(elbo)
        ...     print(scheduler.get_last_lr(), model.weight.item(), scheduler.finished)
        [1.0] 0.0 False
        [1.0] 1.0 False
        [0.5] 1.0 False
    """

    def __init__(
        self,
        optimizer: Optimizer,
        patience: int = 20,
        factor: float = 0.5,
        max_halvings: int = 5,
        min_epochs: int = 1,
        renews_reference: bool = False,
    ) -> None:
        if patience < 1 or max_halvings < 1:
            raise ValueError(f"patience={patience} and max_halvings={max_halvings} must be at least 1")
        super().__init__(optimizer, mode="max", factor=factor, patience=patience)
        self.max_halvings, self.min_epochs, self.renews_reference = max_halvings, min_epochs, renews_reference
        self.reference, self.num_worse, self.num_halvings = self.best, 0, 0
        self.best_weights: dict[str, Tensor] = {}
        self._model: nn.Module | None = None

    def watch(self, model: nn.Module) -> None:
        """Sets the model whose best weights are to be restored."""
        self._model = model

    def step(self, metrics: Number, epoch: int | None = None) -> None:  # type: ignore[override]
        """Applies the rule to the validation ELBO of an epoch."""
        value = float(metrics)
        self.last_epoch += 1
        if value > self.best:
            self.best = value
            self.best_weights = {name: weight.clone() for name, weight in self._weights().items()}
        if value < self.reference:
            self.num_worse += 1
            if self.num_worse >= self.patience and self.last_epoch >= self.min_epochs:
                self._halve(value)
        else:
            self.num_worse, self.reference = 0, value

    def _halve(self, value: float) -> None:
        self.num_worse, self.num_halvings = 0, self.num_halvings + 1
        if self.renews_reference:
            self.reference = value
        self._lower_rates()
        self.optimizer.state.clear()
        for name, weight in self._weights().items():
            weight.copy_(self.best_weights.get(name, weight))

    def _weights(self) -> dict[str, Tensor]:
        """Parameters and buffers, detached: copying to them changes the model."""
        return {} if self._model is None else self._model.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """The state without the model, but with its best weights."""
        return {name: value for name, value in super().state_dict().items() if name != "_model"}

    @property
    def finished(self) -> bool:
        """Whether training is to end."""
        return self.num_halvings >= self.max_halvings
