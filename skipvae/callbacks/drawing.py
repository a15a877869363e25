"""The base of all callbacks that draw: when they draw, at what cost, and without an effect on training."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from skipvae.callbacks.loggers import take_pictures
from skipvae.nn.evaluation_mode import evaluation_mode


class DrawingCallback(Callback, ABC):
    """Draws for the loggers after validations and at the end of training, in the first process only.

    Subclasses draw with `skipvae.callbacks.loggers.write_picture` and `write_table`, which hand a drawing to every
    logger that takes it. Nothing is drawn for loggers that take no pictures, and without a logger.

    A drawing is skipped while all of them together would exceed their fraction of the training time so far; the first
    and the last are always made. Nothing that is drawn changes a number of the training.

    Args:
        every_n_epochs: draw after the validations of every n-th epoch.
        time_share: fraction of the training time that drawing may take.
        num_kept: this many examples of the validation data are drawn, the same ones each time.

    Raises:
        ValueError: if every_n_epochs is below 1.
    """

    def __init__(self, every_n_epochs: int = 5, time_share: float = 0.02, num_kept: int = 8) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs is {every_n_epochs}: it must be at least 1")
        self.every_n_epochs, self.time_share, self.num_kept = every_n_epochs, time_share, num_kept
        self._kept: list[tuple[Tensor, Tensor | None]] = []
        self._drawn_at = -1
        self._begin = self._spent = self._latest_cost = 0.0

    @abstractmethod
    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws; runs in evaluation mode and without gradients."""

    def draw_last(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws what is needed only once, at the end of training."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._begin, self._spent, self._latest_cost, self._drawn_at = perf_counter(), 0.0, 0.0, -1

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Keeps the first examples of the validation data."""
        if not draws_here(trainer):
            return
        if batch_idx == 0:
            self._kept = []
        wanted = self.num_kept - sum(len(x) for x, _ in self._kept)
        if wanted > 0:
            label = batch[1][:wanted] if len(batch) > 1 and isinstance(batch[1], Tensor) else None
            self._kept.append((batch[0][:wanted], label))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws if it is due and within the allowed time."""
        due = not trainer.sanity_checking and trainer.current_epoch % self.every_n_epochs == 0
        allowance = self.time_share * (perf_counter() - self._begin)
        if due and self._spent + self._latest_cost <= allowance:
            self._draw(trainer, pl_module, last=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the final state and frees the examples."""
        self._draw(trainer, pl_module, last=True)
        self._kept = []

    def _draw(self, trainer: Trainer, pl_module: LightningModule, last: bool) -> None:
        if not (draws_here(trainer) and self._kept):
            return
        begin = perf_counter()
        with without_side_effects(trainer, pl_module):
            if self._drawn_at != trainer.global_step:
                self.draw(trainer, pl_module)
            if last:
                self.draw_last(trainer, pl_module)
        self._drawn_at = trainer.global_step
        self._latest_cost = perf_counter() - begin
        self._spent += self._latest_cost


def draws_here(trainer: Trainer) -> bool:
    """Whether this process trains, is the one that writes, and has a logger that takes pictures."""
    return trainer.state.fn == TrainerFn.FITTING and trainer.is_global_zero and take_pictures(trainer)


@contextmanager
def without_side_effects(trainer: Trainer, pl_module: LightningModule, seed: int = 0) -> Iterator[None]:
    """Evaluation mode, no gradients and a random state of its own: training is the same as without the block."""
    devices = [pl_module.device] if pl_module.device.type == "cuda" else []
    forked = torch.random.fork_rng(devices, device_type="cuda")
    with forked, trainer.precision_plugin.forward_context(), torch.no_grad(), evaluation_mode(pl_module):
        torch.manual_seed(seed)
        yield
