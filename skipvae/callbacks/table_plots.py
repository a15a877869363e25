"""Plots of the columns of a table for the loggers: reconstructions, samples of the prior, latent traversals."""

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from skipvae.callbacks.drawing import DrawingCallback
from skipvae.callbacks.figures import grid, pixels
from skipvae.callbacks.loggers import write_picture
from skipvae.callbacks.traversals import traversals
from skipvae.table.codec import TableCodec

NUM_POINTS = 25
"""Points of a traversal."""
LONGEST_NAME = 24
"""Characters of a column's name in a title."""


class TablePlots(DrawingCallback):
    """Reconstructions, samples and latent traversals of a model of tables: one panel per column, in its units.

    - table/reconstructions: the values of validation rows and of their reconstructions; on the line both are equal.
    - table/samples: histograms of validation rows, and of as many rows drawn from the model, the same z each time.
    - table/traversals: the first validation row with one latent dimension at a time moved from -3 to 3; the dimensions
      with the largest KL, largest first in the legend, each with its number and its KL in nats. Flat lines belong to
      collapsed dimensions, or to columns that a dimension says nothing of.

    Models of other data than tables draw nothing.

    Args:
        every_n_epochs: draw after the validations of every n-th epoch.
        num_rows: rows of the validation data that are drawn, at most.
        num_columns: columns that are drawn, at most: the first ones of the table.
        num_dimensions: latent dimensions of the traversals, at most.
        time_share: fraction of the training time that drawing may take; the first and last plots are always drawn.
    """

    def __init__(
        self,
        every_n_epochs: int = 5,
        num_rows: int = 500,
        num_columns: int = 16,
        num_dimensions: int = 6,
        time_share: float = 0.02,
    ) -> None:
        super().__init__(every_n_epochs, time_share, num_kept=num_rows)
        self.num_columns, self.num_dimensions = num_columns, num_dimensions

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See `DrawingCallback.draw`."""
        model: Any = pl_module
        if model.decoder.modality != "table":
            return
        x = torch.cat([x for x, _ in self._kept])  # (N, D)
        figures = {"samples": self._samples(model, x)}
        if model.decoder.latent_dim:
            figures["reconstructions"] = self._reconstructions(model, x)
            figures["traversals"] = self._traversals(model, x)
        for name, figure in figures.items():
            write_picture(trainer, f"table/{name}", pixels(figure), trainer.global_step)

    def _samples(self, model: Any, x: Tensor) -> Figure:
        figure, panels = self._panels(model, "samples")
        data, samples = _in_units(model, x), _in_units(model, model.sample(len(x)))
        num_bins = min(max(8, len(x) // 10), 30)
        for column, axes in enumerate(panels):
            known, drawn = data[:, column], samples[np.isfinite(samples[:, column]), column]
            low, high = np.quantile(np.concatenate([known, drawn]), [0.002, 0.998])
            bins = np.linspace(low, high if high > low else low + 1.0, num_bins + 1).tolist()
            axes.hist(known, bins, color="C7", label="data")
            axes.hist(drawn, bins, histtype="step", color="C3", linewidth=1.5, label="samples")
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        _add_legend(figure, panels)
        return figure

    def _reconstructions(self, model: Any, x: Tensor) -> Figure:
        figure, panels = self._panels(model, "reconstructions (upwards) against data")
        data, reconstructions = _in_units(model, x), _in_units(model, model.reconstruct(x))
        for column, axes in enumerate(panels):
            axes.axline((data[0, column],) * 2, slope=1, color="C7", linewidth=1)
            axes.scatter(data[:, column], reconstructions[:, column], s=4, alpha=0.5)
        return figure

    def _traversals(self, model: Any, x: Tensor) -> Figure:
        figure, panels = self._panels(model, "along latent dimensions")
        moved = traversals(model, x[:1], self.num_dimensions, NUM_POINTS)
        values = _in_units(model, moved.x)  # (R, P, D)
        for column, axes in enumerate(panels):
            for row, label in enumerate(moved.labels):
                axes.plot(moved.path, values[row, :, column], label=label)
        _add_legend(figure, panels, title="dimension and KL (nats)")
        return figure

    def _panels(self, model: Any, title: str) -> tuple[Figure, list[Axes]]:
        """A panel for each column that is drawn; the title says how many are left out."""
        names = TableCodec.of(model).names
        shown = names[: self.num_columns]
        figure, panels = grid(len(shown), size=2.4)
        figure.suptitle(
            title if len(shown) == len(names) else f"{title}: the first {len(shown)} of {len(names)} columns"
        )
        for name, axes in zip(shown, panels, strict=True):
            axes.set_title(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}...", fontsize="medium")
            axes.tick_params(labelsize="small")
        return figure, panels


def _in_units(model: Any, x: Tensor) -> NDArray[np.float64]:
    """Rows x (..., D) in the units of the table."""
    return TableCodec.of(model).decode(x)


def _add_legend(figure: Figure, panels: list[Axes], title: str | None = None) -> None:
    """One legend for all panels, below them."""
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, title=title, loc="outside lower center", ncols=len(labels))
