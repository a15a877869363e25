"""The time of a training step, of a Trainer and of a plain loop: only steps after the first few and within an epoch."""

import time
from collections.abc import Callable, Iterator

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor


def clock() -> float:
    """Seconds: the processor's on one thread, in which other work on the machine counts less; else the wall clock's."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


class Stopwatch(Callback):
    """The seconds of a step of a fit, which takes at least `warmup + steps + 1` of them.

    Args:
        warmup: steps that are not timed.
        steps: steps that are timed.
    """

    def __init__(self, warmup: int, steps: int) -> None:
        self.warmup, self.steps, self.started, self.seconds = warmup, steps, 0.0, 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        if trainer.global_step == self.warmup:
            self.started = clock()
        if trainer.global_step == self.warmup + self.steps:
            self.seconds = (clock() - self.started) / self.steps


def timed(step: Callable[[tuple[Tensor, ...]], None], loader: object, warmup: int, steps: int) -> float:
    """The seconds of a step of a plain loop over the batches of a loader, which starts anew when it ends."""

    def batches() -> Iterator[tuple[Tensor, ...]]:
        while True:
            yield from loader  # type: ignore[misc]

    stream = batches()
    for _ in range(warmup):
        step(next(stream))
    started = clock()
    for _ in range(steps):
        step(next(stream))
    return (clock() - started) / steps
