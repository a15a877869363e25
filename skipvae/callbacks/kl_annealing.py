"""KL annealing: the weight of the KL in the training loss as a pure function of the global step."""

from abc import ABC, abstractmethod
from math import isinf
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from skipvae.persistence.checkpoint import check_like
from skipvae.training.epochs import EpochLengths


class KLWeight(Callback, ABC):
    """Sets `model.beta` before each step: a function of the step alone, so that a resumed run continues the curve.

    Where a length is given in epochs, they are as long as when the run began, also after it was resumed with another
    batch size or number of processes; checkpoints keep that length.

    Evaluation and the choice of checkpoints never see beta; they use a weight of 1.
    """

    _epochs: EpochLengths | None = None

    @abstractmethod
    def weight(self, step: int, epochs: EpochLengths) -> float:
        """The weight of the KL.

        Args:
            step: number of optimizer steps done so far.
            epochs: `epochs.steps(2)` are the optimizer steps of the first two epochs, the same in all of a run.
        """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuses a second callback that sets the weight.

        Raises:
            ValueError: if there is one.
        """
        self._epochs = None
        rivals = [type(callback).__name__ for callback in trainer.callbacks if isinstance(callback, KLWeight)]  # type: ignore[attr-defined]
        if len(rivals) > 1:
            raise ValueError(
                f"{' and '.join(rivals)} would all set the weight of the KL: keep one of them; to change one of the "
                "config, set its values (--trainer.callbacks.warmup_epochs 2), or replace the list "
                "(--trainer.callbacks=CLASS instead of +=)"
            )

    def state_dict(self) -> dict[str, Any]:
        """The length of the epochs."""
        return {} if self._epochs is None else self._epochs.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the length that the epochs had when the run began.

        Raises:
            ValueError: if the state is not one of ours.
        """
        check_like(state_dict, EpochLengths(0).state_dict(), "KL annealing")
        self._epochs = EpochLengths(**state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the epochs, and refuses a weight that cannot be computed."""
        self._epochs = self._epochs or EpochLengths.of(trainer)
        self.weight(0, self._epochs)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Sets the weight of this step."""
        assert self._epochs is not None
        pl_module.beta = self.weight(trainer.global_step, self._epochs)  # type: ignore[assignment]


class FixedKLWeight(KLWeight):
    """The same weight at every step: a beta-VAE (Higgins et al. 2017).

    Args:
        beta: the weight, at least 0.

    Example:
        >>> FixedKLWeight(0.2).weight(step=7, epochs=EpochLengths(10))
        0.2
    """

    def __init__(self, beta: float) -> None:
        self.beta = _not_negative(beta=beta)

    def weight(self, step: int, epochs: EpochLengths) -> float:
        """See `KLWeight.weight`."""
        return self.beta


class LinearKLAnnealing(KLWeight):
    """A line from `start` to `end`, where it stays (Bowman et al. 2016, arXiv:1511.06349; defaults of Kim et al. 2018).

    Args:
        start: weight of the first step.
        end: weight after the warm-up.
        warmup_steps: length of the warm-up in optimiser steps, or
        warmup_epochs: in epochs; exactly one of them.
        rises_first: whether the weight rises before the first step, as in the published code, so that the last step of
            the warm-up has the weight `end`. Its 10 epochs from 0.1 are the last 9 of a rise from 0.

    Raises:
        ValueError: if a number is negative, or not exactly one length is given.

    Example:
        >>> annealing = LinearKLAnnealing(start=0.0, warmup_epochs=2)
        >>> [annealing.weight(step, EpochLengths(2)) for step in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
        >>> published = LinearKLAnnealing(start=0.0, warmup_epochs=2, rises_first=True)
        >>> [published.weight(step, EpochLengths(2)) for step in range(6)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        start: float = 0.1,
        end: float = 1.0,
        warmup_steps: int | None = None,
        warmup_epochs: float | None = None,
        rises_first: bool = False,
    ) -> None:
        self.start, self.end, self.rises_first = _not_negative(start=start), _not_negative(end=end), rises_first
        self.warmup = _Duration("warmup", warmup_steps, warmup_epochs)

    def weight(self, step: int, epochs: EpochLengths) -> float:
        """See `KLWeight.weight`."""
        warmup, step = self.warmup.in_steps(epochs), step + self.rises_first
        return _between(self.start, self.end, step / warmup if step < warmup else 1.0)


class CyclicalKLAnnealing(KLWeight):
    """Cycles that each rise in a line and then stay at `end` (Fu et al. 2019, arXiv:1903.10145, eq. 6 and 7).

    Args:
        cycles: number of cycles M.
        ratio: fraction R of a cycle in which the weight rises.
        total_steps: length of all cycles together in optimiser steps, or
        total_epochs: in epochs; exactly one of them. Afterwards the weight stays at `end`.
        start: weight at the beginning of each cycle.
        end: weight after each rise.

    Raises:
        ValueError: if a number is out of range, or not exactly one length is given.

    Example:
        >>> annealing = CyclicalKLAnnealing(cycles=2, total_steps=8)
        >>> [annealing.weight(step, EpochLengths(1)) for step in range(9)]
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
            raise ValueError(f"ratio is {ratio}: the fraction of a cycle in which the weight rises is between 0 and 1")
        self.start, self.end = _not_negative(start=start), _not_negative(end=end)
        self.cycles, self.ratio = cycles, ratio
        self.total = _Duration("total", total_steps, total_epochs)

    def weight(self, step: int, epochs: EpochLengths) -> float:
        """See `KLWeight.weight`."""
        total = self.total.in_steps(epochs)
        if step >= total:
            return self.end
        # Multiplied before it is divided: with whole numbers the cycles are then exactly alike.
        position = (step * self.cycles % total) / total  # in [0, 1)
        return _between(self.start, self.end, position / self.ratio if position < self.ratio else 1.0)


class _Duration:
    """A stretch of training in steps or in epochs, whichever was given."""

    def __init__(self, name: str, steps: int | None, epochs: float | None) -> None:
        if (steps is None) == (epochs is None):
            raise ValueError(f"KL annealing needs exactly one of {name}_steps and {name}_epochs")
        _not_negative(**({f"{name}_steps": steps} if epochs is None else {f"{name}_epochs": epochs}))
        self.name, self.steps, self.epochs = name, steps, epochs

    def in_steps(self, epochs: EpochLengths) -> float:
        if self.epochs is None:
            assert self.steps is not None
            return self.steps
        try:
            return epochs.steps(self.epochs)
        except ValueError as error:
            raise ValueError(f"{error}: set {self.name}_steps instead of {self.name}_epochs") from error


def _between(start: float, end: float, fraction: float) -> float:
    return start + (end - start) * fraction if fraction < 1 else end


def _not_negative(**named: float | None) -> float:
    ((name, value),) = named.items()
    if value is None or not value >= 0 or isinf(value):
        raise ValueError(f"{name} is {value}: KL annealing needs a finite number of at least 0")
    return value
