"""The terms of the training loss between two writes of the loggers, and what is said where numbers go wrong."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class LossTerms:
    """Keeps the terms of each step on the device, since reading them would make every step wait for it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.steps: list[int] = []
        self.rows: list[Tensor] = []

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Takes in the terms of a step: scalars in nats per example.

        Raises:
            ValueError: if they are not those of the steps before, in the same order.
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
        """The mean of each term over the steps taken in."""
        return dict(zip(self.names, _stack(self.rows).mean(0), strict=True))

    def error(self, latest_only: bool = False) -> str | None:
        """Names the first step and term that are not finite; None if all are."""
        rows, steps = (self.rows[-1:], self.steps[-1:]) if latest_only else (self.rows, self.steps)
        # A sum is finite only if all of it is, and a quarter of the time of `isfinite`.
        if not rows or math.isfinite(float((rows[0] if len(rows) == 1 else _stack(rows)).sum())):
            return None
        for step, row in zip(steps, rows, strict=True):
            wrong = {
                name: value for name, value in zip(self.names, row.tolist(), strict=True) if not math.isfinite(value)
            }
            if wrong:
                culprit = next((name for name in wrong if name != "loss"), "loss")
                return (
                    f"the {culprit} became {wrong[culprit]} at step {step}: training stopped before this could reach a "
                    "checkpoint; try a lower learning rate, gradient clipping (trainer.gradient_clip_val) or float32"
                )
        return None

    def clear(self) -> None:
        """Forgets all steps."""
        self.steps, self.rows = [], []

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds: plain types and tensors."""
        return {"names": self.names, "steps": self.steps, "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the steps, so that a resumed run logs what the straight one would have."""
        self.names, self.steps, self.rows = list(state["names"]), list(state["steps"]), list(state["rows"])
        if not len(self.steps) == len(self.rows) == sum(row.shape == (len(self.names),) for row in self.rows):
            raise ValueError("the checkpoint is damaged: its terms of the loss do not fit each other")


def check_weights(weights: Iterable[tuple[str, Tensor]], step: int) -> None:
    """Raises a FloatingPointError that names the first weight that is not finite before this step."""
    for name, weight in weights:
        if not weight.isfinite().all():
            raise FloatingPointError(
                f"{name} is no longer finite after step {step - 1}, since its gradient was not: take the last good "
                "checkpoint, and a lower learning rate or gradient clipping (trainer.gradient_clip_val)"
            )


def _stack(rows: list[Tensor]) -> Tensor:
    """(steps, terms), where the last step is: what a checkpoint restored may lie elsewhere."""
    return torch.stack([row.to(rows[-1].device) for row in rows])
