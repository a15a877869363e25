"""The table of a study: mean and spread over seeds, and the significant differences between rows."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from statistics import fmean, median, stdev
from typing import Any

from scipy.stats import ttest_ind_from_stats

from skipvae.likelihoods import Measure
from skipvae.metrics.registry import METRICS, Metric
from skipvae.study.plan import Run, Study

Results = Mapping[str, Any]
"""The content of a run's metrics.json."""


SIGNIFICANCE = 0.05
"""The level of Welch's t test over seeds at which a difference is called significant."""


@dataclass(frozen=True)
class Cell:
    """A metric of one row.

    Attributes:
        values: one for each seed.
        stderr: of a single value, over the test examples, where it is known.
        best: whether it is significantly better than that of every comparable row.
    """

    values: tuple[float, ...]
    stderr: float | None = None
    best: bool = False

    @property
    def mean(self) -> float:
        """Over seeds."""
        return fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds; None for a single seed."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def spread(self) -> float | None:
        """The number after the ±: the deviation over seeds; for a single seed the standard error."""
        return self.stderr if self.deviation is None else self.deviation

    def text(self, digits: int, plus_minus: str = " ± ") -> str:
        """Such as `-112.1 ± 0.3`."""
        if self.spread is None and self.mean.is_integer():
            digits = 0
        return f"{self.mean:.{digits}f}" + ("" if self.spread is None else f"{plus_minus}{self.spread:.{digits}f}")


@dataclass(frozen=True)
class Row:
    """A model at one value of each varied quantity.

    Attributes:
        model: its name.
        varied: value by quantity, without those that do not apply to it.
        cells: by the key of the metric.
        measure: the meaning of log p(x), where its runs know it.
    """

    model: str
    varied: dict[str, Any]
    cells: dict[str, Cell]
    measure: Measure | None = None


@dataclass(frozen=True)
class Table:
    """All rows of a study.

    Attributes:
        quantities: names of the varied quantities.
        metrics: the columns: the metrics that any run has.
        rows: sorted by the varied quantities, then in the order of the study file.
        spread: the meaning of the number after the ±.
    """

    quantities: tuple[str, ...]
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    spread: str

    def parts(self) -> "list[Table]":
        """Tables that are narrow enough to read: of the model of the data, and of the labels predicted from z."""
        model = replace(self, metrics=tuple(metric for metric in self.metrics if not metric.of_labels))
        labels = tuple(metric for metric in self.metrics if metric.of_labels)
        labelled = tuple(row for row in self.rows if any(metric.key in row.cells for metric in labels))
        return [model, replace(self, metrics=labels, rows=labelled)] if labelled else [model]


def tabulate(study: Study, results: Mapping[str, Results]) -> Table:
    """The table of the runs that have results.

    Args:
        study: the study.
        results: of its finished runs, by name.
    """
    order = [{label: index for index, (label, _) in enumerate(quantity.values)} for quantity in study.quantities]
    names = [quantity.name for quantity in study.quantities]
    groups: dict[tuple[int, ...], list[tuple[Run, Results]]] = {}
    for run in study.runs:
        if run.name in results:
            position = [index.get(run.varied.get(name), -1) for name, index in zip(names, order, strict=True)]
            key = (*position, study.models.index(run.model))
            groups.setdefault(key, []).append((run, results[run.name]))
    found = [
        metric for metric in METRICS if metric.title and any(metric.is_shown(result) for result in results.values())
    ]
    rows = [_row(groups[key], found) for key in sorted(groups)]
    metrics = [
        metric._replace(title=_title(metric, list(results.values())), digits=_digits(metric, rows)) for metric in found
    ]
    rows = [replace(row, cells=_with_best_marked(row, rows, metrics)) for row in rows]
    return Table(tuple(names), tuple(metrics), tuple(rows), _spread({len(runs) for runs in groups.values()}))


def _spread(num_seeds: Set[int]) -> str:
    """The meaning of the ± of rows with this many seeds."""
    if num_seeds == {1}:
        return "standard error, one seed"
    over = f"standard deviation over {max(num_seeds)} seeds"
    return over if len(num_seeds) == 1 else f"{over} at most, in rows with a single one the standard error"


def _row(runs: Sequence[tuple[Run, Results]], metrics: Sequence[Metric]) -> Row:
    cells = {}
    for metric in metrics:
        values = tuple(float(result[metric.key]) for _, result in runs if result.get(metric.key) is not None)
        if values:
            cells[metric.key] = Cell(values, runs[0][1].get(f"{metric.key}_stderr"))
    measure = runs[0][1].get("measure")
    return Row(runs[0][0].model, runs[0][0].varied, cells, None if measure is None else Measure(measure))


def _title(metric: Metric, results: Sequence[Results]) -> str:
    """The title, with the maximum of the metric if that is the same in all runs."""
    ceilings = {result["mi_ceiling"] for result in results if result.get("mi") is not None}
    units = {len(result["kl_per_dim"]) for result in results if result.get("kl_per_dim")}
    if metric.key == "mi" and len(ceilings) == 1:
        return f"MI ≤ {ceilings.pop():.2f}"
    if metric.key == "au" and len(units) == 1:
        return f"AU of {units.pop()}"
    majority = {round(share, 2) for result in results if (share := _majority(result)) is not None}
    if metric.key == "probe_accuracy" and len(majority) == 1:
        return f"linear probe (majority class {majority.pop():.2f})"
    return metric.title


def _majority(result: Results) -> float | None:
    """The majority-class baseline; files of earlier versions have it under another name."""
    share: float | None = result.get("majority_accuracy", result.get("majority_share"))
    return share


def _digits(metric: Metric, rows: Sequence[Row]) -> int:
    """Digits that show the first one of the usual spread, but at most four: two seeds may agree by chance."""
    spreads = [cell.spread for row in rows if (cell := row.cells.get(metric.key)) and cell.spread]
    return min(4, max(metric.digits, math.ceil(-math.log10(median(spreads))))) if spreads else metric.digits


def _with_best_marked(row: Row, rows: Sequence[Row], metrics: Sequence[Metric]) -> dict[str, Cell]:
    """The cells of a row, marked where they are significantly better than in every comparable row."""
    rivals = [other for other in rows if other is not row and _comparable(row, other)]
    marked = {}
    for metric in metrics:
        if metric.key in row.cells:
            having = [other for other in rivals if metric.key in other.cells]
            cell, others = row.cells[metric.key], [other.cells[metric.key] for other in having]
            if metric.of_likelihood and not all(_same_measure(row, other) for other in having):
                others = []
            best = bool(others) and all(exceeds(cell, other, metric.better) for other in others)
            marked[metric.key] = replace(cell, best=best)
    return marked


def _comparable(row: Row, other: Row) -> bool:
    return all(row.varied[name] == other.varied[name] for name in row.varied.keys() & other.varied.keys())


def _same_measure(row: Row, other: Row) -> bool:
    """Whether log p(x) has the same meaning in both, as far as it is known."""
    return row.measure is None or other.measure is None or row.measure.is_comparable(other.measure)


def exceeds(cell: Cell, other: Cell, better: int) -> bool:
    """Whether a cell is significantly better than another, by Welch's t test; never with a single seed.

    Example:
        >>> exceeds(Cell((-90.1, -90.2, -90.0)), Cell((-95.0, -94.8, -95.1)), better=1)
        True
        >>> exceeds(Cell((-90.1, -97.2, -92.0)), Cell((-95.0, -94.8, -95.1)), better=1)
        False
    """
    if min(len(cell.values), len(other.values)) < 2 or better * (cell.mean - other.mean) <= 0:
        return False
    spreads = stdev(cell.values), stdev(other.values)
    if not any(spreads):
        return True  # the t test divides by them
    sides = ((c.mean, s, len(c.values)) for c, s in zip((cell, other), spreads, strict=True))
    return bool(ttest_ind_from_stats(*next(sides), *next(sides), equal_var=False).pvalue < SIGNIFICANCE)
