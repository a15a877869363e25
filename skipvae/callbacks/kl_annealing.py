"""KL annealing: the weight of the KL in the training loss as a pure function of the global step."""

from abc import ABC, abstractmethod
from math import ceil, isinf
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class KLWeight(Callback, ABC):
    """Sets `model.beta` before each step. No state: a resumed run continues the very same curve.

    Evaluation and the choice of checkpoints never see beta; they use a weight of 1.
    """

    _steps_per_epoch = 0

    @abstractmethod
    def weight(self, step: int, steps_per_epoch: int) -> float:
        """The weight of the KL.

        Args:
            step: number of optimiser steps done so far.
            steps_per_epoch: optimiser steps in an epoch, a constant of the run.
        """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuses a second callback that sets the weight.

        Raises:
            ValueError: if there is one.
        """
        rivals = [type(callback).__name__ for callback in trainer.callbacks if isinstance(callback, KLWeight)]  # type: ignore[attr-defined]
        if len(rivals) > 1:
            raise ValueError(
                f"{' and '.join(rivals)} would all set the weight of the KL: keep one of them; to change one of the "
                "config, set its values (--trainer.callbacks.warmup_epochs 2), or replace the list "
                "(--trainer.callbacks=CLASS instead of +=)"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts the optimiser steps of an epoch."""
        if isinf(trainer.num_training_batches):  # an endless stream has no epochs, and then this is never used
            self.weight(0, 0)
        else:  # the last batches of an epoch make a step also when they are fewer than the others
            self._steps_per_epoch = ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Sets the weight of this step."""
        pl_module.beta = self.weight(trainer.global_step, self._steps_per_epoch)  # type: ignore[assignment]


class FixedKLWeight(KLWeight):
    """The same weight at every step: a beta-VAE (Higgins et al. 2017).

    Args:
        beta: the weight, at least 0.

    Example:
        >>> FixedKLWeight(0.2).weight(step=7, steps_per_epoch=10)
        0.2
    """

    def __init__(self, beta: float) -> None:
        self.beta = _not_negative(beta=beta)

    def weight(self, step: int, steps_per_epoch: int) -> float:
        """See `KLWeight.weight`."""
        return self.beta


class LinearKLAnnealing(KLWeight):
    """A line from `start` to `end`, where it stays (Bowman et al. 2016, arXiv:1511.06349; defaults of Kim et al. 2018).

    Args:
        start: weight of the first step.
        end: weight after the warm-up.
        warmup_steps: length of the warm-up in optimiser steps, or
        warmup_epochs: in epochs; exactly one of them.

    Raises:
        ValueError: if a number is negative, or not exactly one length is given.

    Example:
        >>> annealing = LinearKLAnnealing(start=0.0, warmup_epochs=2)
        >>> [annealing.weight(step, steps_per_epoch=2) for step in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        start: float = 0.1,
        end: float = 1.0,
        warmup_steps: int | None = None,
        warmup_epochs: float | None = None,
    ) -> None:
        self.start, self.end = _not_negative(start=start), _not_negative(end=end)
        self.warmup = _Length("warmup", warmup_steps, warmup_epochs)

    def weight(self, step: int, steps_per_epoch: int) -> float:
        """See `KLWeight.weight`."""
        warmup = self.warmup.in_steps(steps_per_epoch)
        return _between(self.start, self.end, step / warmup if step < warmup else 1.0)


class CyclicalKLAnnealing(KLWeight):
    """Cycles that each rise in a line and then stay at `end` (Fu et al. 2019, arXiv:1903.10145, eq. 6 and 7).

    Args:
        cycles: number of cycles M.
        ratio: share R of a cycle in which the weight rises.
        total_steps: length of all cycles together in optimiser steps, or
        total_epochs: in epochs; exactly one of them. Afterwards the weight stays at `end`.
        start: weight at the beginning of each cycle.
        end: weight after each rise.

    Raises:
        ValueError: if a number is out of range, or not exactly one length is given.

    Example:
        >>> annealing = CyclicalKLAnnealing(cycles=2, total_steps=8)
        >>> [annealing.weight(step, steps_per_epoch=1) for step in range(9)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        cycles: int = 4,
        ratio: float = 0.5,
        total_steps: int | None = None,
        total_epochs: float | None = None,
        start: float = 0.0,
        end: float = 1.0,
    ) -> None:
        if cycles < 1:
            raise ValueError(f"cycles is {cycles}: KL annealing needs at least one cycle")
        if not 0 <= ratio <= 1:
            raise ValueError(f"ratio is {ratio}: the share of a cycle in which the weight rises is between 0 and 1")
        self.start, self.end = _not_negative(start=start), _not_negative(end=end)
        self.cycles, self.ratio = cycles, ratio
        self.total = _Length("total", total_steps, total_epochs)

    def weight(self, step: int, steps_per_epoch: int) -> float:
        """See `KLWeight.weight`."""
        total = self.total.in_steps(steps_per_epoch)
        if step >= total:
            return self.end
        # Multiplied before it is divided: with whole numbers the cycles are then exactly alike.
        position = (step * self.cycles % total) / total  # in [0, 1)
        return _between(self.start, self.end, position / self.ratio if position < self.ratio else 1.0)


class _Length:
    """A stretch of training in steps or in epochs, whichever was given."""

    def __init__(self, name: str, steps: int | None, epochs: float | None) -> None:
        if (steps is None) == (epochs is None):
            raise ValueError(f"KL annealing needs exactly one of {name}_steps and {name}_epochs")
        _not_negative(**({f"{name}_steps": steps} if epochs is None else {f"{name}_epochs": epochs}))
        self.name, self.steps, self.epochs = name, steps, epochs

    def in_steps(self, steps_per_epoch: int) -> float:
        if self.steps is not None:
            return self.steps
        if steps_per_epoch < 1:
            raise ValueError(
                f"the training data has no known length, so an epoch has no end: "
                f"set {self.name}_steps instead of {self.name}_epochs"
            )
        assert self.epochs is not None
        return self.epochs * steps_per_epoch


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share if share < 1 else end


def _not_negative(**named: float | None) -> float:
    ((name, value),) = named.items()
    if value is None or not value >= 0 or isinf(value):
        raise ValueError(f"{name} is {value}: KL annealing needs a finite number of at least 0")
    return value
