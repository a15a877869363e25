"""Figures of the trained models: inputs, reconstructions and samples side by side, and the latent space."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from torch import Tensor

from skipvae.callbacks.figures import grid
from skipvae.callbacks.tiles import tiles
from skipvae.models.test_split import Examples
from skipvae.study.plan import Run, Study
from skipvae.study.plan_fields import safe_name
from skipvae.study.reporting.loaded_runs import LoadedRuns
from skipvae.study.reporting.plots import cells, name_of

NUM_IMAGES = 25
"""Number of inputs, reconstructions and samples shown of each model."""


def model_figures(study: Study, runs: Sequence[Run], loaded: LoadedRuns) -> Iterator[tuple[str, Figure]]:
    """Figures of the first seed of each model, with their file names.

    Args:
        study: the study.
        runs: its finished runs.
        loaded: their models and examples.
    """
    first = [run for run in runs if run.seed == study.seeds[0]]
    spaces = []
    for varied in cells(first):
        models = []
        for run in (run for run in first if run.varied == varied):
            model, examples = loaded.model(run), loaded.examples(run)
            if examples is None:
                continue
            models.append((run.model, model, examples))
            if model.decoder.latent_dim:
                title = f"{run.model} {name_of(varied)}".strip()
                spaces.append((title, posterior_means(model, examples.x), examples.label))
        if models and all(examples.x.dim() == 4 for _, _, examples in models):
            name = safe_name("-".join(["images", *(f"{key}{value}" for key, value in varied.items())]))
            yield name, images(models, name_of(varied))
    if spaces:
        yield "latent_space", latent_space(spaces)


@torch.no_grad()
def posterior_means(model: Any, x: Tensor) -> Tensor:
    """The means of q(z|x), (N, K)."""
    return torch.cat([model.infer(part.to(model.device)).mean.cpu() for part in torch.split(x, 200)])


@torch.no_grad()
def images(models: Sequence[tuple[str, Any, Examples]], title: str) -> Figure:
    """A row for each model: inputs, their reconstructions, and samples; mean images where they have a closed form."""
    figure, axes = grid(3 * len(models), columns=3, size=2.6)
    panels = iter(axes)
    for name, model, examples in models:
        x = examples.x[:NUM_IMAGES].to(model.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if model.decoder.latent_dim:
                shown = [x, model.reconstruct(x), model.decoder.preview(model.sample_prior(len(x)))]
            else:
                shown = [x, None, model.sample(len(x))]
        for kind, pictures in zip(("inputs", "reconstructions", "samples"), shown, strict=True):
            axis = next(panels)
            axis.set_axis_off()
            if pictures is not None:
                axis.set_title(f"{name}: {kind}" if kind != "inputs" else kind, fontsize="medium")
                axis.imshow(tiles(pictures, columns=5).permute(1, 2, 0).numpy(), interpolation="nearest")
    figure.suptitle(title)
    return figure


def latent_space(spaces: Sequence[tuple[str, Tensor, Tensor | None]]) -> Figure:
    """Posterior means coloured by label; their first two principal components where there are more than two."""
    figure, axes = grid(len(spaces))
    legend: dict[str, Any] = {}
    for axis, (title, means, label) in zip(axes, spaces, strict=True):
        xy = means.numpy()
        if xy.shape[1] > 2:
            xy = PCA(2).fit_transform(xy)
            axis.set(xlabel="first principal component", ylabel="second")
        values = [None] if label is None else sorted(set(label.tolist()))
        colours = colormaps["tab10" if len(values) <= 10 else "nipy_spectral"].resampled(len(values))
        for index, value in enumerate(values):
            chosen = xy if label is None else xy[label.numpy() == value]
            points = axis.scatter(chosen[:, 0], chosen[:, -1], s=4, alpha=0.7, linewidths=0, color=colours(index))
            legend.setdefault(str(value), points)
        axis.set_title(title, fontsize="medium")
    if 1 < len(legend) <= 10:
        figure.legend(legend.values(), legend.keys(), loc="outside right center", fontsize="small", markerscale=3)
    figure.suptitle("posterior means of test examples")
    return figure
