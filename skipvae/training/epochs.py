"""Epochs as a unit of time: their number of optimizer steps."""

from math import ceil, isinf

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import GradientAccumulationScheduler


class EpochLengths:
    """The optimizer steps of the epochs of a run, where the accumulation of gradients may change between epochs.

    Args:
        batches: in an epoch; 0 if the data has no known length.
        accumulation: batches per step, from each of these epochs on.

    Example:
        >>> lengths = EpochLengths(batches=10, accumulation={0: 5, 4: 1})
        >>> [lengths.steps(epochs) for epochs in (1, 2.5, 4, 5)]
        [2, 5.0, 8, 18]
    """

    def __init__(self, batches: int, accumulation: dict[int, int] | None = None) -> None:
        self.batches, self.accumulation = batches, {0: 1} | (accumulation or {})

    @classmethod
    def of(cls, trainer: Trainer) -> "EpochLengths":
        """Those of a trainer whose data is set up."""
        batches = trainer.num_training_batches
        accumulation = {0: trainer.accumulate_grad_batches}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, GradientAccumulationScheduler):
                accumulation = dict(callback.scheduling)
        return cls(0 if isinf(batches) else int(batches), accumulation)

    def steps(self, epochs: float) -> float:
        """The optimizer steps of the first `epochs` epochs.

        Raises:
            ValueError: if the data has no known length.
        """
        if self.batches < 1:
            raise ValueError("the training data has no known length, so an epoch has no end")
        steps: float = 0
        starts = sorted(self.accumulation)
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            within = max(0, (epochs if end is None else min(epochs, end)) - start)
            # The last batches of an epoch make a step also when they are fewer than the others.
            steps += within * ceil(self.batches / self.accumulation[start])
        return steps

    def state_dict(self) -> dict[str, object]:
        """Plain types only."""
        return {"batches": self.batches, "accumulation": self.accumulation}
