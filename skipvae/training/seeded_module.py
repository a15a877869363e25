"""Noise that is a function of the seed and of where it is used, not of a state that a kill could lose."""

import os
from typing import Any

from pytorch_lightning import LightningModule

from skipvae.compatibility import noise_generators
from skipvae.training.accumulation import index_in_group


class SeededModule(LightningModule):
    """A LightningModule that seeds the noise of each step and batch, if `seed_everything` gave a seed."""

    def on_train_epoch_start(self) -> None:
        """Gives a shuffling DataLoader of the user's another order in each epoch, after a validation's fixed noise."""
        if self.current_epoch > 0:  # the first epoch's order is drawn by now, or not, according to the loader's workers
            self.seed_noise(2, self.current_epoch)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Makes the noise of a step a function of the seed and the step, so that a resumed run is exactly the same."""
        self.seed_noise(0, self.global_step, index_in_group(self.trainer, batch_idx), self.trainer.global_rank)

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Gives each batch of the split its own noise, the same at every evaluation and for any number of processes."""
        # Process r of W holds the whole batches r, r + W, r + 2 W ... of the split.
        self.seed_noise(1, batch_idx * self.trainer.world_size + self.trainer.global_rank)

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As in validation."""
        self.on_validation_batch_start(batch, batch_idx)

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As in validation."""
        self.on_validation_batch_start(batch, batch_idx)

    def seed_noise(self, stream: int, *counters: int) -> None:
        """Seeds the generators of the model's device, if there is a seed.

        Args:
            stream: the use of the noise: 0 a training step, 1 an evaluation, 2 the order of an epoch, 3 encoding
                training examples for a test.
            *counters: of the step, batch or epoch within that use.
        """
        seed = os.environ.get("PL_GLOBAL_SEED")  # set by seed_everything; without it the noise stays unseeded
        if seed is None:
            return
        mixed = hash((int(seed), stream, *counters)) & 0x7FFF_FFFF_FFFF_FFFF  # of integers: the same in every process
        for generator in noise_generators(self.device):
            generator.manual_seed(mixed)
