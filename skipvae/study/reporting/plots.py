"""Plots of the results: metrics against varied quantities, KL and activity of each dimension, training curves."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from skipvae.callbacks.figures import grid
from skipvae.compatibility import read_scalars
from skipvae.metrics.registry import METRICS
from skipvae.study.plan import Run, Study
from skipvae.study.plan_fields import safe_name
from skipvae.study.reporting.table import Results, Row, Table

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of models, in the order of the study file: distinguishable by colour-blind readers too (Okabe & Ito)."""
CURVES = {f"val/{metric.key}": metric.title for metric in METRICS if metric.key in ("elbo", "kl", "mi", "au")}
"""Tags of the training curves and their titles."""


def plots(study: Study, table: Table, results: Mapping[str, Results]) -> Iterator[tuple[str, Figure]]:
    """All plots of a study, with their file names."""
    for quantity in table.quantities:
        yield safe_name(f"by_{quantity}"), metrics_by(quantity, study, table)
    done = [run for run in study.runs if run.name in results]
    with_latents = [run for run in done if results[run.name].get("kl_per_dim")]
    if with_latents:
        yield "kl_per_dimension", dimensions(study, with_latents, results, "kl_per_dim", "KL per dimension (nats)")
        yield (
            "active_units",
            dimensions(study, with_latents, results, "variance_per_dim", "variance of posterior mean"),
        )
    yield "training", training_curves(study, done)


def colour(study: Study, model: str) -> str:
    """The colour of a model in all plots of a study."""
    return COLOURS[study.models.index(model) % len(COLOURS)]


def cells(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The combinations of varied values, in the order of the runs."""
    found: list[dict[str, Any]] = []
    for run in runs:
        if run.varied not in found:
            found.append(run.varied)
    return found


def name_of(varied: Mapping[str, Any]) -> str:
    """Such as `K = 20, depth = 2`."""
    return ", ".join(f"{name} = {value}" for name, value in varied.items())


def metrics_by(quantity: str, study: Study, table: Table) -> Figure:
    """Each metric against a varied quantity, mean and standard deviation over seeds; a level line where it is fixed."""
    values = next([value for value, _ in q.values] for q in study.quantities if q.name == quantity)
    numeric = all(type(value) in (int, float) for value in values)
    decades = numeric and min(values) > 0 and max(values) >= 10 * min(values)
    metrics = [metric for metric in table.metrics if metric.key != "seconds"]
    figure, axes = grid(len(metrics))
    lines: dict[str, list[Row]] = {}
    for row in table.rows:
        rest = name_of({name: value for name, value in row.varied.items() if name != quantity})
        lines.setdefault(", ".join(filter(None, [row.model, rest])), []).append(row)
    for axis, metric in zip(axes, metrics, strict=True):
        for label, (first, *others) in lines.items():
            rows = [row for row in (first, *others) if metric.key in row.cells]
            style: dict[str, Any] = {"color": colour(study, first.model), "label": label}
            if rows and quantity not in first.varied:
                axis.axhline(rows[0].cells[metric.key].mean, linestyle="--", **style)
            elif rows:
                x = [row.varied[quantity] if numeric else values.index(row.varied[quantity]) for row in rows]
                y = [row.cells[metric.key].mean for row in rows]
                spread = [row.cells[metric.key].deviation or 0 for row in rows]
                axis.errorbar(x, y, spread, marker="o", markersize=4, capsize=3, **style)
        axis.set(title=metric.title, xlabel=quantity, xscale="log" if decades else "linear")
        axis.title.set_wrap(True)
        axis.set_xticks(values if numeric else range(len(values)), [str(value) for value in values])
        axis.minorticks_off()  # on a logarithmic axis they would have labels of their own
    axes[0].legend(fontsize="small")
    return figure


def dimensions(study: Study, runs: Sequence[Run], results: Mapping[str, Results], key: str, ylabel: str) -> Figure:
    """A value of each latent dimension, sorted, mean over seeds; one panel for each combination of varied values."""
    panels = [varied for varied in cells(runs) if any(p.varied == varied and results[p.name].get(key) for p in runs)]
    figure, axes = grid(len(panels))
    for axis, varied in zip(axes, panels, strict=True):
        for model in study.models:
            of_model = [results[p.name] for p in runs if p.model == model and p.varied == varied]
            spectra = [sorted(run[key], reverse=True) for run in of_model if run.get(key)]
            if spectra:
                mean = np.mean(spectra, axis=0)
                label = f"{model}: {fmean(run['au'] for run in of_model):.3g} active"
                axis.plot(range(1, len(mean) + 1), mean, marker=".", color=colour(study, model), label=label)
        if key == "variance_per_dim":
            threshold = next(results[p.name]["au_threshold"] for p in runs if p.varied == varied)
            axis.axhline(threshold, color="grey", linestyle=":", label=f"active above {threshold:g}")
            axis.set_yscale("log")
        axis.set(title=name_of(varied), xlabel="latent dimension, sorted")
        axis.legend(fontsize="small")
    axes[0].set_ylabel(ylabel)
    return figure


def training_curves(study: Study, runs: Sequence[Run]) -> Figure:
    """Validation metrics against optimiser steps, one thin line for each run."""
    figure, axes = grid(len(CURVES))
    for run in runs:
        curves = read_curves(run.folder)
        for axis, tag in zip(axes, CURVES, strict=True):
            if tag in curves:
                axis.plot(*curves[tag], color=colour(study, run.model), linewidth=1, alpha=0.7)
    for axis, title in zip(axes, CURVES.values(), strict=True):
        axis.set(title=title, xlabel="step")
    for model in study.models:
        axes[0].plot([], [], color=colour(study, model), label=model)
    axes[0].legend(fontsize="small")
    figure.suptitle("validation during training")
    return figure


def read_curves(folder: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values by tag, from the TensorBoard logs of a run; of a step logged twice the later value counts."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    values: dict[str, dict[int, float]] = {tag: {} for tag in CURVES}
    for file in sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime):
        for tag, scalars in read_scalars(str(file), {*CURVES}).items():
            values[tag].update(scalars)
    for tag, by_step in values.items():
        if by_step:
            curves[tag] = (sorted(by_step), [by_step[step] for step in sorted(by_step)])
    return curves
