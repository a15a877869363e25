"""Grids of images for the loggers: reconstructions, samples of the prior, latent traversals."""

from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from skipvae.callbacks.drawing import DrawingCallback
from skipvae.callbacks.labelled_grid import labelled_grid
from skipvae.callbacks.loggers import write_picture
from skipvae.callbacks.tiles import pixels_of, tiles
from skipvae.callbacks.traversals import traversals


class ImageGrids(DrawingCallback):
    """Reconstructions, samples and latent traversals of an image model.

    - images/reconstructions: validation images, each above its reconstruction.
    - images/samples: the mean of p(x|z), or a draw where there is none, for the same z of the prior each time.
    - images/traversals: the first validation image with one latent dimension at a time moved from -3 to 3; the
      dimensions with the largest KL, largest on top, each with its number and its KL in nats. Rows that do not change
      belong to collapsed dimensions.

    Models of other data than images draw nothing, and models without z only samples.

    Args:
        every_n_epochs: draw after the validations of every n-th epoch.
        num_images: images in a row.
        time_share: fraction of the training time that drawing may take; the first and last grids are always drawn.
    """

    def __init__(self, every_n_epochs: int = 5, num_images: int = 8, time_share: float = 0.02) -> None:
        super().__init__(every_n_epochs, time_share, num_kept=num_images)
        self.num_images = num_images

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See `DrawingCallback.draw`."""
        model: Any = pl_module
        if model.decoder.modality != "image":
            return
        grids = {"samples": model.sample(2 * self.num_images)}
        if model.decoder.latent_dim:
            x = torch.cat([x for x, _ in self._kept])
            grids["samples"] = model.decoder.preview(model.sample_prior(2 * self.num_images))
            grids["reconstructions"] = torch.cat([x, model.reconstruct(x)])
            self._draw_traversals(trainer, model, x)
        for name, images in grids.items():
            write_picture(trainer, f"images/{name}", pixels_of(tiles(images, self.num_images)), trainer.global_step)

    def _draw_traversals(self, trainer: Trainer, model: Any, x: Tensor) -> None:
        moved = traversals(model, x[:1], num_dimensions=self.num_images, num_points=self.num_images)
        picture = labelled_grid(
            tiles(moved.x.flatten(0, 1), self.num_images),
            row_labels=moved.labels,
            column_labels=[f"{value:.1f}" for value in moved.path.tolist()],
            corner="dim.  KL",
        )
        write_picture(trainer, "images/traversals", picture, trainer.global_step)
