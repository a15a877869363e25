"""The training loss between two writes of the loggers: the means to log, and an error where it is not finite."""

import math
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from skipvae.training.finiteness import check_data, check_weights


class LossMonitor:
    """Keeps the terms of each step on the device, since reading them would make every step wait for it.

    `LightningModule.log` at every step would cost more than the whole step of a small model.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.steps: list[int] = []
        self.rows: list[Tensor] = []

    def record(
        self, model: LightningModule, x: Tensor, terms: dict[str, Tensor], ends_step: bool = True
    ) -> dict[str, Tensor] | None:
        """Adds the terms of a batch; returns their means since the last write of the loggers when one is due.

        Args:
            model: under its trainer.
            x: (B, ...), the batch.
            terms: scalars in nats per example.
            ends_step: whether an optimizer step follows, so that the loggers may write.

        Raises:
            FloatingPointError: if a term is not finite. On a CPU it is read after every batch; elsewhere, where
                reading means waiting for the device, only when a write is due.
        """
        trainer = model.trainer
        self.add(model.global_step, terms)
        due = ends_step and loggers_write(model)
        if due or (model.device.type == "cpu" and trainer.world_size == 1):
            try:
                self.check(model, latest_only=not due)
            except FloatingPointError:
                check_data(x, model.global_step)
                raise
        if not due:
            return None
        means = self.means()
        self.clear()
        return means

    def check(self, model: LightningModule, latest_only: bool = False) -> None:
        """Raises a FloatingPointError in all processes if a term is not finite in one: the others would wait forever.

        Args:
            model: under its trainer.
            latest_only: whether to read the terms of the last batch alone.
        """
        error = self.error(latest_only)
        if error is not None and latest_only:  # the steps before were finite, so weights that are not say more
            check_weights(model)
        if model.trainer.strategy.reduce_boolean_decision(error is not None, all=False):
            raise FloatingPointError(error or "the loss is no longer finite in another process, which says more")

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Adds the terms of a batch: scalars in nats per example.

        Raises:
            ValueError: if they are not those of the batches before, in the same order.
        """
        names = list(terms)
        if self.rows and names != self.names:
            raise ValueError(
                f"the loss of step {step} has the terms {names}, but {self.names} before: keep to one list"
            )
        self.names = names
        self.steps.append(step)
        self.rows.append(torch.stack(list(terms.values())).detach())

    def means(self) -> dict[str, Tensor]:
        """The mean of each term over the batches added."""
        return dict(zip(self.names, _stack(self.rows).mean(0), strict=True))

    def error(self, latest_only: bool = False) -> str | None:
        """The message that names the first step and term that are not finite; None if all are."""
        rows, steps = (self.rows[-1:], self.steps[-1:]) if latest_only else (self.rows, self.steps)
        # A sum is finite only if all of it is, and a quarter of the time of `isfinite`.
        if not rows or math.isfinite(float((rows[0] if len(rows) == 1 else _stack(rows)).sum())):
            return None
        for step, row in zip(steps, rows, strict=True):
            values = dict(zip(self.names, row.tolist(), strict=True))
            wrong = [name for name, value in values.items() if not math.isfinite(value)]
            if wrong:
                culprit = next((name for name in wrong if name != "loss"), "loss")
                return (
                    f"the {culprit} became {values[culprit]} at step {step}: training stopped before this could reach "
                    "a checkpoint; try a lower learning rate, gradient clipping (trainer.gradient_clip_val) or float32"
                )
        return None

    def clear(self) -> None:
        """Removes all batches."""
        self.steps, self.rows = [], []

    def state_dict(self) -> dict[str, Any]:
        """The batches in plain types and tensors, for a checkpoint."""
        return {"names": self.names, "steps": self.steps, "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the batches, so that a resumed run logs the same means as one that was never interrupted."""
        self.names, self.steps, self.rows = list(state["names"]), list(state["steps"]), list(state["rows"])
        if not len(self.steps) == len(self.rows) == sum(row.shape == (len(self.names),) for row in self.rows):
            raise ValueError("the checkpoint is damaged: its terms of the loss do not fit each other")


def loggers_write(model: LightningModule) -> bool:
    """Whether the loggers write after the optimizer step that comes next."""
    every: int = model.trainer.log_every_n_steps  # type: ignore[attr-defined]
    return (model.global_step + 1) % max(1, every) == 0


def _stack(rows: list[Tensor]) -> Tensor:
    """(batches, terms), on the device of the last batch: restored ones may lie elsewhere."""
    return torch.stack([row.to(rows[-1].device) for row in rows])
