"""Plots of the latent space for the loggers: which dimensions are used, and where the data lie."""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from pytorch_lightning import LightningModule, Trainer

from skipvae.callbacks.drawing import DrawingCallback
from skipvae.callbacks.figures import pixels
from skipvae.callbacks.loggers import summary_writers, write_picture
from skipvae.callbacks.projector import write_points


class LatentPictures(DrawingCallback):
    """Plots the KL and the activity of each dimension, and the posterior means in the embedding projector.

    - latents/dimensions: the KL of each dimension, and the variance of its posterior mean over the data with the
      threshold of an active unit.
    - latents/kl_per_dim: a histogram of the former, in TensorBoard alone.
    - latents/elbo_per_step: the ELBO along the steps of iterative inference.
    - posterior_means, at the end of training: points in TensorBoard's projector with their class, sentence and KL, see
      `skipvae.callbacks.projector`.

    Models without z draw nothing.

    Args:
        every_n_epochs: draw after the validations of every n-th epoch.
        num_points: points in the projector, at most.
        time_share: fraction of the training time that drawing may take; the first and last plots are always drawn.
    """

    def __init__(self, every_n_epochs: int = 5, num_points: int = 1000, time_share: float = 0.02) -> None:
        super().__init__(every_n_epochs, time_share, num_kept=num_points)

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See `DrawingCallback.draw`."""
        results: dict[str, Any] = getattr(pl_module, "results", {})
        kl, step = results.get("kl_per_dim"), trainer.global_step
        if not kl or not all(map(math.isfinite, kl)):
            return
        for writer in summary_writers(trainer):
            writer.add_histogram("latents/kl_per_dim", np.asarray(kl), step)
        picture = bars(kl, results["variance_per_dim"], results["au_threshold"])
        write_picture(trainer, "latents/dimensions", picture, step)
        if "elbo_per_step" in results:
            write_picture(trainer, "latents/elbo_per_step", curve(results["elbo_per_step"]), step)

    def draw_last(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the posterior means (N, K) of the kept validation data into the projector."""
        model: Any = pl_module
        if not model.decoder.latent_dim:
            return
        data = getattr(trainer, "datamodule", None)
        for writer in summary_writers(trainer):
            write_points(writer, model, self._kept, getattr(data, "label_names", None) or (), trainer.global_step)


def bars(kl: list[float], variance: list[float], threshold: float = 0.01) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A plot (height, width, 3) of the KL and of the variance of the posterior mean of each latent dimension.

    Example:
        >>> bars([0.1, 2.0], [0.001, 0.9]).shape
        (450, 600, 3)
    """
    figure = Figure(figsize=(6, 4.5), dpi=100)  # not pyplot, which keeps what is not closed
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.11, top=0.94, hspace=0.4)
    rate, spread = figure.subplots(2, 1)
    rate.bar(range(len(kl)), kl)
    rate.set_title("KL to the prior (nats)", fontsize="medium")
    spread.bar(range(len(variance)), variance, color=["C0" if value > threshold else "C7" for value in variance])
    spread.axhline(threshold, color="C3", linestyle="--")
    spread.set_title(f"variance of the posterior mean, active above {threshold:g}", fontsize="medium")
    spread.set_yscale("log")
    spread.set_ylim(threshold / 100, max(2.0, *variance))
    spread.yaxis.set_minor_locator(NullLocator())
    spread.set_xlabel("latent dimension")
    for axes in (rate, spread):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return pixels(figure)


def curve(elbo: list[float]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A plot (height, width, 3) of the ELBO before each step of inference and after the last.

    Example:
        >>> curve([-90.0, -80.0, -79.0]).shape
        (300, 600, 3)
    """
    figure = Figure(figsize=(6, 3), dpi=100)
    figure.subplots_adjust(left=0.14, right=0.98, bottom=0.16, top=0.9)
    axes = figure.subplots()
    axes.plot(range(len(elbo)), elbo, marker=".")
    axes.set_title("ELBO along the steps of inference (nats)", fontsize="medium")
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return pixels(figure)
