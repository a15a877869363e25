"""Pictures from the trained models: inputs, reconstructions and samples side by side, and the latent space."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from torch import Tensor
from torchvision.utils import make_grid

from skipvae import runs
from skipvae.models import GenerativeModel
from skipvae.study.checks import config_of_run
from skipvae.study.plan import Point, Study
from skipvae.study.plots import cells, grid, name_of
from skipvae.study.point import best_checkpoint
from skipvae.tokens import pad_sentences

NUM_EXAMPLES = 2000
"""How many test examples a picture of the latent space shows at most."""
NUM_IMAGES = 25
"""How many inputs, reconstructions and samples are shown of each model."""


class Examples(NamedTuple):
    """The first examples of a test split: x (N, ...), and labels (N,) where there are some."""

    x: Tensor
    label: Tensor | None


def gallery(study: Study, points: Sequence[Point]) -> Iterator[tuple[str, Figure]]:
    """Pictures of the first seed of each model, with the names of their files.

    Args:
        study: what was run.
        points: the runs that are there.
    """
    first = [point for point in points if point.seed == study.seeds[0]]
    found: dict[str, Examples] = {}
    spaces = []
    for varied in cells(first):
        models = []
        for point in (point for point in first if point.varied == varied):
            model: Any = GenerativeModel.load_from_checkpoint(best_checkpoint(point.folder))
            settings = json.dumps((config_of_run(point.folder) or {}).get("data"))
            if settings not in found:
                found[settings] = test_examples(point)
            examples = found[settings]
            models.append((point.model, model, examples))
            if model.decoder.latent_dim:
                spaces.append((f"{point.model} {name_of(varied)}", posterior_means(model, examples.x), examples.label))
        if all(examples.x.dim() == 4 for _, _, examples in models):
            name = "-".join(["images", *(f"{key}{value}" for key, value in varied.items())])
            yield name, images(models, name_of(varied))
    if spaces:
        yield "latent_space", latent_space(spaces)


def test_examples(point: Point) -> Examples:
    """The first test examples of the data that a run was made with."""
    data = runs.data_of(best_checkpoint(point.folder))
    data.prepare_data()
    data.setup("test")
    batches: list[tuple[Tensor, ...]] = []
    for batch in data.test_dataloader():
        batches.append(batch)
        if sum(len(x) for x, *_ in batches) >= NUM_EXAMPLES:
            break
    inputs = [batch[0] for batch in batches]
    x = (pad_sentences(inputs) if inputs[0].dim() == 2 else torch.cat(inputs))[:NUM_EXAMPLES]
    labels = [batch[1] for batch in batches if len(batch) > 1 and isinstance(batch[1], Tensor)]
    return Examples(x, torch.cat(labels)[:NUM_EXAMPLES] if labels else None)


@torch.no_grad()
def posterior_means(model: Any, x: Tensor) -> Tensor:
    """The means of q(z|x), (N, K)."""
    return torch.cat([model.infer(part).mean for part in torch.split(x, 200)])


@torch.no_grad()
def images(models: Sequence[tuple[str, Any, Examples]], title: str) -> Figure:
    """A column for each model: reconstructions of the same inputs, and samples, as means of the pixels."""
    figure, axes = grid(3 * len(models), columns=3, size=2.6)
    panels = iter(axes)
    for name, model, examples in models:
        x = examples.x[:NUM_IMAGES]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if model.decoder.latent_dim:
                shown = [x, model.reconstruct(x), model.decoder.preview(model.sample_prior(len(x)))]
            else:
                shown = [x, None, model.sample(len(x))]
        for what, pictures in zip(("inputs", "reconstructions", "samples"), shown, strict=True):
            axis = next(panels)
            axis.set_axis_off()
            if pictures is not None:
                axis.set_title(f"{name}: {what}" if what != "inputs" else what, fontsize="medium")
                tiles = make_grid(pictures.clamp(0, 1), nrow=5, padding=1, pad_value=0.5)
                axis.imshow(tiles.permute(1, 2, 0).numpy(), interpolation="nearest")
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
