"""Pictures of the latent space in TensorBoard: which dimensions are used, and where the data lie."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pytorch_lightning import LightningModule, Trainer

from skipvae.callbacks.pictures import Pictures


class LatentPictures(Pictures):
    """Shows collapse dimension by dimension, and the posterior means of validation data in the embedding projector.

    - latents/kl_per_dim: a histogram, and a bar for each dimension.
    - latents/variance: variance of each posterior mean over the data, with the threshold of an active unit.
    - latents/posterior_means, at the end of training: points in the projector with labels and, for images, thumbnails.

    Models without z draw nothing.

    Args:
        every_n_epochs: draw after the validations of every n-th epoch.
        num_points: points in the projector, at most.
        time_share: share of the training time that drawing may take; the first and last pictures are always drawn.
    """

    def __init__(self, every_n_epochs: int = 5, num_points: int = 1000, time_share: float = 0.02) -> None:
        super().__init__(every_n_epochs, time_share, num_kept=num_points)

    def draw(self, trainer: Trainer, pl_module: LightningModule, writer: Any) -> None:
        """See `Pictures.draw`."""
        results: dict[str, Any] = getattr(pl_module, "results", {})
        kl, step = results.get("kl_per_dim"), trainer.global_step
        if not kl or not all(map(math.isfinite, kl)):
            return
        writer.add_histogram("latents/kl_per_dim", np.asarray(kl), step)
        picture = bars(kl, "KL to the prior (nats)")
        writer.add_image("latents/kl_per_dim", picture, step, dataformats="HWC")
        picture = bars(results["variance_per_dim"], "variance of the posterior mean", results["au_threshold"])
        writer.add_image("latents/variance", picture, step, dataformats="HWC")

    def draw_last(self, trainer: Trainer, pl_module: LightningModule, writer: Any) -> None:
        """Puts the posterior means (N, K) of the kept validation data into the projector."""
        model: Any = pl_module
        if not model.decoder.latent_dim:
            return
        means = torch.cat([model.infer(x).mean for x, _ in self._kept]).float().cpu()
        labels = [label.tolist() for _, label in self._kept if label is not None]
        metadata = [label for batch in labels for label in batch]
        thumbnails = None
        if hasattr(model.decoder, "image_shape"):
            thumbnails = torch.cat([x for x, _ in self._kept]).float().cpu().mean(1, keepdim=True).expand(-1, 3, -1, -1)
        writer.add_embedding(
            means,
            metadata=metadata if len(metadata) == len(means) else None,
            label_img=thumbnails,
            global_step=trainer.global_step,
            tag="latents/posterior_means",
        )


def bars(values: list[float], title: str, threshold: float | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture (height, width, 3) with one bar per latent dimension; a threshold is a line on a logarithmic axis.

    Example:
        >>> bars([0.1, 2.0], "KL").shape
        (300, 600, 3)
    """
    figure = Figure(figsize=(6, 3), dpi=100, layout="constrained")  # not pyplot, which keeps what is not closed
    axes = figure.subplots()
    if threshold is None:
        axes.bar(range(len(values)), values)
    else:
        axes.bar(range(len(values)), values, color=["C0" if value > threshold else "C7" for value in values])
        axes.axhline(threshold, color="C3", linestyle="--", label=f"active above {threshold:g}")
        axes.set_yscale("log")
        axes.legend()
    axes.set_xlabel("latent dimension")
    axes.set_title(title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
