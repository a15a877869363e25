"""Findings of a study as sentences: where a model with skips differs significantly from the same model without."""

from collections.abc import Iterator, Sequence

from skipvae.metrics.registry import Metric
from skipvae.study.plan import Study
from skipvae.study.reporting.table import Cell, Row, Table, exceeds

SKIP = "model.decoder.skip"


def findings(study: Study, table: Table) -> list[str]:
    """A sentence for each pair of models that differ by their skips alone: the significant differences."""
    return [
        f"**{skip} against {plain}**: {'; '.join(_differences(plain, skip, table))}."
        for plain, skip in pairs(study)
        if any(row.model == plain for row in table.rows) and any(row.model == skip for row in table.rows)
    ]


def pairs(study: Study) -> list[tuple[str, str]]:
    """Models of a study that differ in nothing but skips, and in what a search chose: (without, with)."""
    settings = {run.model: (run.bases, dict(run.settings)) for run in reversed(study.planned)}
    found = []
    for skip, (bases, own) in settings.items():
        if own.pop(SKIP, False):
            found += [(plain, skip) for plain, other in settings.items() if plain != skip and other == (bases, own)]
    return sorted(found, key=lambda pair: study.models.index(pair[1]))


def _differences(plain: str, skip: str, table: Table) -> Iterator[str]:
    without = {str(row.varied): row for row in table.rows if row.model == plain}
    rows = [(without[str(row.varied)], row) for row in table.rows if row.model == skip and str(row.varied) in without]
    if all(len(row.cells["elbo"].values) < 2 for _, row in rows):
        yield "one seed only, so no difference can be called significant"
        return
    metrics_by_phrase: dict[str, list[str]] = {}
    for metric in table.metrics:
        rows_by_verdict = {"higher": list[Row](), "lower": list[Row](), "without significant difference": list[Row]()}
        for other, row in rows:
            if metric.better and metric.key in row.cells and metric.key in other.cells:
                rows_by_verdict[_verdict(row.cells[metric.key], other.cells[metric.key])].append(row)
        phrase = ", ".join(f"{verdict}{_where(at, len(rows))}" for verdict, at in rows_by_verdict.items() if at)
        if phrase:
            metrics_by_phrase.setdefault(phrase, []).append(_name(metric))
    for phrase, names in metrics_by_phrase.items():
        yield f"{', '.join(names)} {phrase}"


def _verdict(cell: Cell, other: Cell) -> str:
    if exceeds(cell, other, 1):
        return "higher"
    return "lower" if exceeds(other, cell, 1) else "without significant difference"


def _name(metric: Metric) -> str:
    return metric.title.split(" ≤")[0].split(" of ")[0].split(" (")[0]


def _where(rows: Sequence[Row], total: int) -> str:
    """Such as ` at K = 2, 10`; empty if these are all rows."""
    if len(rows) == total:
        return ""
    names = ", ".join(rows[0].varied)
    return f" at {names} = {', '.join('/'.join(map(str, row.varied.values())) for row in rows)}"
