"""Noise that is a function of the seed and of where it is used, not of a state that a kill could lose."""

import os
from typing import Any

import torch

from skipvae.training.fast_module import LeanModule


class SeededModule(LeanModule):
    """Seeds the noise of each step and batch, if `seed_everything` gave a seed."""

    def on_train_epoch_start(self) -> None:
        """Gives a shuffling DataLoader of the user's another order in each epoch: a validation has its fixed noise."""
        if self.current_epoch > 0:  # the first epoch's order is drawn by now, or not, according to the loader's workers
            self._seed_noise(2, self.current_epoch)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Makes the noise of a step a function of the seed and the step, so that a resumed run continues exactly."""
        part = batch_idx % self.trainer.accumulate_grad_batches
        self._seed_noise(0, self.global_step, part, self.trainer.global_rank)

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Gives each batch of the split its own noise, the same at every evaluation and for any number of processes."""
        # Process r of W holds the whole batches r, r + W, r + 2 W ... of the split.
        self._seed_noise(1, batch_idx * self.trainer.world_size + self.trainer.global_rank)

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As in validation."""
        self.on_validation_batch_start(batch, batch_idx)

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As in validation."""
        self.on_validation_batch_start(batch, batch_idx)

    def _seed_noise(self, stream: int, *counters: int) -> None:
        seed = os.environ.get("PL_GLOBAL_SEED")  # set by seed_everything; without it the noise stays unseeded
        if seed is None:
            return
        mixed = hash((int(seed), stream, *counters)) & 0x7FFF_FFFF_FFFF_FFFF  # of integers: the same in every process
        # Not torch.manual_seed, which looks for every kind of device and so takes longer than a small model's step.
        torch.default_generator.manual_seed(mixed)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(mixed)
