"""A study's table for the terminal, Markdown, LaTeX and other programs."""

import csv
import io
import re
from collections.abc import Callable, Sequence

import rich.table
from rich import box
from rich.text import Text

from skipvae.likelihoods import Measure
from skipvae.metrics.registry import Metric
from skipvae.study.reporting.table import SIGNIFICANCE, Cell, Row, Table


def header(table: Table) -> list[str]:
    """The titles of all columns."""
    return [*table.quantities, "model", *(metric.title for metric in table.metrics)]


def labels(table: Table, row: Row) -> list[str]:
    """The cells left of the numbers: the varied quantities, `all` if one does not apply, and the model."""
    return [*(str(row.varied.get(name, "all")) for name in table.quantities), row.model]


def _numbers(table: Table, row: Row, show: Callable[[Cell, Metric], str]) -> list[str]:
    return [show(row.cells[m.key], m) if m.key in row.cells else "" for m in table.metrics]


def caption(table: Table) -> str:
    """How to read the table."""
    unit = "nats per example"
    if all(metric.of_labels for metric in table.metrics):
        unit = "labels predicted from the posterior means, and k-means clusters of them"
    parts = [f"Test split, {unit}; ± is the {table.spread}"]
    if any(metric.of_likelihood for metric in table.metrics):
        parts += measures(table)
    if any("≤" in metric.title for metric in table.metrics):
        parts.append("MI is at most ln of the number of test examples")
    if any("kl" not in row.cells for row in table.rows):
        parts.append("without z the ELBO is the log-likelihood itself")
    if any(row.cells[m.key].best for row in table.rows for m in table.metrics if m.key in row.cells):
        parts.append(
            f"the best is marked where it is significantly better than all others (Welch's t test, {SIGNIFICANCE:.0%})"
        )
    return "; ".join(parts) + "."


def measures(table: Table) -> list[str]:
    """The meaning of log p(x), where it needs words: of all rows, or of each model if they are not comparable."""
    models = {row.model: row.measure for row in table.rows if row.measure is not None}
    kinds = set(models.values())
    if len(kinds) < 2:
        return [f"log p(x) is {kind}" for kind in kinds if kind is not Measure.BINARY]
    each = ", ".join(f"of {model} {kind}" for model, kind in models.items())
    return [f"log p(x) is {each}: only the same kind can be compared"]


def terminal(table: Table, title: str) -> rich.table.Table:
    """For the terminal."""
    found = rich.table.Table(
        title=title,
        title_justify="left",
        caption=caption(table),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for index, column in enumerate(header(table)):
        found.add_column(column, justify="left" if index <= len(table.quantities) else "right")
    previous = None
    for row in table.rows:
        if previous is not None and table.quantities and previous.varied != row.varied:
            found.add_section()
        previous = row
        numbers = [
            Text(row.cells[m.key].text(m.digits), style="bold green" if row.cells[m.key].best else "", no_wrap=True)
            if m.key in row.cells
            else Text()
            for m in table.metrics
        ]
        found.add_row(*labels(table, row), *numbers)
    return found


def markdown(table: Table) -> str:
    """For Markdown."""

    def show(cell: Cell, metric: Metric) -> str:
        text = cell.text(metric.digits)
        return f"**{text}**" if cell.best else text

    lines = [header(table), *([*labels(table, row), *_numbers(table, row, show)] for row in table.rows)]
    return markdown_rows(lines, len(table.quantities) + 1)


def markdown_rows(lines: Sequence[Sequence[str]], num_labels: int) -> str:
    """A table for Markdown.

    Args:
        lines: the header, then the rows.
        num_labels: the number of columns at the left that are text; the others are numbers.

    Example:
        >>> print(markdown_rows([["model", "KL"], ["VAE", "3.1"]], 1), end="")
        | model | KL |
        | --- | ---: |
        | VAE | 3.1 |
    """
    rule = ["---"] * num_labels + ["---:"] * (len(lines[0]) - num_labels)
    rows = [lines[0], rule, *lines[1:]]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)


def latex(table: Table) -> str:
    """For LaTeX, with the package booktabs."""

    def show(cell: Cell, metric: Metric) -> str:
        text = cell.text(metric.digits, r" \pm ")
        return rf"$\mathbf{{{text}}}$" if cell.best else f"${text}$"

    lines = [rf"\begin{{tabular}}{{{'l' * (len(table.quantities) + 1)}{'r' * len(table.metrics)}}}", r"\toprule"]
    lines += [" & ".join(map(_escaped, header(table))) + r" \\", r"\midrule"]
    previous = None
    for row in table.rows:
        if previous is not None and table.quantities and previous.varied != row.varied:
            lines.append(r"\addlinespace")
        previous = row
        lines.append(" & ".join([*map(_escaped, labels(table, row)), *_numbers(table, row, show)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text).replace("≤", r"$\le$")


def comma_separated(table: Table) -> str:
    """For other programs: mean, standard deviation over seeds, standard error over examples, and number of seeds."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    parts = ("mean", "sd", "stderr", "seeds")
    writer.writerow([*table.quantities, "model", *(f"{m.key}_{part}" for m in table.metrics for part in parts)])
    for row in table.rows:
        numbers: list[object] = []
        for metric in table.metrics:
            cell = row.cells.get(metric.key)
            numbers += ["", "", "", 0] if cell is None else [cell.mean, cell.deviation, cell.stderr, len(cell.values)]
        writer.writerow([*(row.varied.get(name, "") for name in table.quantities), row.model, *numbers])
    return output.getvalue()
