"""Means, spreads and marks of a study's table, and its formats."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from skipvae.likelihoods import Measure
from skipvae.study.plan import Study, read_study
from skipvae.study.reporting import table_formats
from skipvae.study.reporting.table import Cell, Table, exceeds, tabulate

WriteStudy = Callable[..., Path]


def fabricated(study: Study, **levels: tuple[float, float]) -> dict[str, dict[str, Any]]:
    """Results of each run: normal around a level for each model (key without _), with its own deviation."""
    generator = np.random.default_rng(0)
    results = {}
    for run in study.runs:
        level, deviation = levels[run.model.replace("-", "_")]
        elbo = level + deviation * generator.standard_normal()
        results[run.name] = {
            "elbo": elbo,
            "elbo_stderr": 0.5,
            "nll": -elbo - 1,
            "kl": 3.0,
            "mi": 2.0,
            "mi_ceiling": 6.21,
            "au": 3,
            "au_threshold": 0.01,
            "num_examples": 500,
            "kl_per_dim": [1.0, 2.0, 0.0],
            "variance_per_dim": [0.5, 1.0, 0.001],
            "seconds": 12.3,
        }
    return results


@pytest.fixture
def study(write_study: WriteStudy) -> Study:
    return read_study(write_study(vary={"K": {"model.decoder.latent_dim": [10, 2]}}, seeds=[1, 2, 3, 4]))


def test_mean_and_deviation_over_seeds(study: Study) -> None:
    results = fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1))
    table = tabulate(study, results)
    assert [(row.varied["K"], row.model) for row in table.rows] == [
        (2, "VAE"),
        (2, "SKIP-VAE"),
        (10, "VAE"),
        (10, "SKIP-VAE"),
    ]
    for row in table.rows:
        values = [results[p.name]["elbo"] for p in study.runs if (p.model, p.varied) == (row.model, row.varied)]
        assert row.cells["elbo"].mean == pytest.approx(np.mean(values))
        assert row.cells["elbo"].deviation == pytest.approx(np.std(values, ddof=1))
        assert "ppl" not in row.cells


def test_text_has_columns_that_compare_vocabularies(study: Study) -> None:
    results = fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1))
    for result in results.values():
        result.update(bits_per_byte=1.5, unk_fraction=0.0, dropped_fraction=0.25, truncated_fraction=0.0)
    titles = [metric.title for metric in tabulate(study, results).metrics]
    assert {"bits/byte", "unknown words", "left out"} <= {*titles}
    assert "cut" not in titles  # of which there are none


@pytest.mark.parametrize(
    ("measure", "marked"),
    [(None, True), (Measure.BYTES, True), (Measure.BYTES_BOUND, True), (Measure.DENSITY, False)],
)
def test_a_density_is_not_compared_with_a_probability(study: Study, measure: Measure | None, marked: bool) -> None:
    results = fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1))
    for run in study.runs:
        results[run.name] |= {"measure": Measure.BYTES if run.model == "VAE" else measure, "nll_bits_per_dim": 3.0}
        results[run.name]["au"] = 2.0 + (run.model == "VAE")
    table = tabulate(study, results)
    assert [row.cells["elbo"].best for row in table.rows] == [False, marked] * 2
    assert [row.cells["au"].best for row in table.rows] == [True, False] * 2  # which is no value of log p(x)
    assert ("only the same kind" in table_formats.caption(table)) == (measure not in (None, Measure.BYTES))
    assert ("log p(x) is a log-probability of 8-bit" in table_formats.caption(table)) == (
        measure in (None, Measure.BYTES)
    )
    assert "NLL bits/dim" in table_formats.header(table)


def test_the_caption_counts_the_seeds_that_are_there(study: Study) -> None:
    results = fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1))
    assert tabulate(study, results).spread == "standard deviation over 4 seeds"
    only = {run.name: results[run.name] for run in study.runs if run.seed == 2}
    assert tabulate(study, only).spread == "standard error, one seed"
    some = {name: result for name, result in results.items() if "SKIP" in name or "seed2" in name}
    assert "4 seeds at most, in rows with a single one the standard error" in tabulate(study, some).spread


def test_what_labels_say_is_a_table_of_its_own(study: Study) -> None:
    results = fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1))
    assert len(tabulate(study, results).parts()) == 1
    for run in study.runs:
        if run.model == "SKIP-VAE":
            results[run.name] |= {"probe_accuracy": 0.9, "majority_accuracy": 0.114, "nmi": 0.5}
    model, labels = tabulate(study, results).parts()
    assert table_formats.header(model)[-1] == "seconds"
    assert table_formats.header(labels) == ["K", "model", "linear probe (majority class 0.11)", "k-means NMI"]
    assert [row.model for row in labels.rows] == ["SKIP-VAE", "SKIP-VAE"]
    assert "0.900" in table_formats.markdown(labels)
    assert "0.900" not in table_formats.markdown(model)
    assert "predicted from the posterior means" in table_formats.caption(labels)


def test_only_a_difference_beyond_the_noise_is_marked(study: Study) -> None:
    clear = tabulate(study, fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1)))
    assert [row.cells["elbo"].best for row in clear.rows] == [False, True, False, True]
    assert [row.cells["nll"].best for row in clear.rows] == [False, True, False, True]
    assert not any(row.cells["kl"].best or row.cells["au"].best for row in clear.rows)
    unclear = tabulate(study, fabricated(study, VAE=(-91, 5), SKIP_VAE=(-90, 5)))
    assert not any(row.cells["elbo"].best for row in unclear.rows)


def test_what_no_other_row_has_is_not_marked(study: Study) -> None:
    results = fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1))
    for run in study.runs:
        if run.model == "VAE":
            del results[run.name]["elbo"]
    assert not any(row.cells["elbo"].best for row in tabulate(study, results).rows if "elbo" in row.cells)


def test_exceeds_is_welchs_test() -> None:
    generator = np.random.default_rng(1)
    verdicts = set()
    for shift in np.linspace(0, 4, 40):
        a, b = shift + generator.standard_normal(3), 2 * generator.standard_normal(4)
        wanted = a.mean() > b.mean() and ttest_ind(a, b, equal_var=False).pvalue < 0.05
        assert exceeds(Cell(tuple(a)), Cell(tuple(b)), better=1) == wanted
        assert exceeds(Cell(tuple(-a)), Cell(tuple(-b)), better=-1) == wanted
        verdicts.add(wanted)
    assert verdicts == {True, False}


def test_marks_by_chance_are_rare() -> None:
    """Of two equal models one is marked in at most 5% of tables (Welch's test is a little stricter for few seeds)."""
    draws = np.random.default_rng(2).standard_normal((2000, 2, 3))
    marked = sum(
        exceeds(Cell(tuple(a)), Cell(tuple(b)), 1) or exceeds(Cell(tuple(b)), Cell(tuple(a)), 1) for a, b in draws
    )
    assert 0 < marked / 2000 < 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5


def test_no_spread_at_all() -> None:
    assert exceeds(Cell((20.0, 20.0)), Cell((9.0, 9.0)), better=1)
    assert not exceeds(Cell((20.0, 20.0)), Cell((20.0, 20.0)), better=1)
    assert not exceeds(Cell((20.0,)), Cell((9.0, 9.0)), better=1)
    assert not exceeds(Cell((20.0, 20.0)), Cell((9.0, 9.0)), better=0)


def test_one_seed_has_the_standard_error_and_no_marks(write_study: WriteStudy) -> None:
    study = read_study(write_study(seeds=[7]))
    table = tabulate(study, fabricated(study, VAE=(-100, 0), SKIP_VAE=(-90, 0)))
    assert table.rows[0].cells["elbo"].text(1) == "-100.0 ± 0.5"
    assert not any(cell.best for row in table.rows for cell in row.cells.values())
    assert "standard error" in table_formats.caption(table)


def test_a_model_that_is_not_varied_is_compared_with_every_row(write_study: WriteStudy) -> None:
    study = read_study(
        write_study(
            models={"VAE": {}, "LM": {"model.decoder.latent_dim": 0}},
            vary={"K": {"model.decoder.latent_dim": [2, 10]}},
            seeds=[1, 2, 3],
        )
    )
    table = tabulate(study, fabricated(study, VAE=(-100, 0.1), LM=(-90, 0.1)))
    assert [(row.model, row.cells["elbo"].best) for row in table.rows] == [("LM", True), ("VAE", False), ("VAE", False)]
    table = tabulate(study, fabricated(study, VAE=(-80, 0.1), LM=(-90, 0.1)))
    assert [row.cells["elbo"].best for row in table.rows] == [False, True, True]
    assert table_formats.labels(table, table.rows[0]) == ["all", "LM"]


def test_digits_show_the_usual_spread_and_not_the_smallest(study: Study) -> None:
    table = tabulate(study, fabricated(study, VAE=(-100, 0.01), SKIP_VAE=(-90, 0.01)))
    shown = table.rows[0].cells["elbo"].text(next(m.digits for m in table.metrics if m.key == "elbo"))
    assert float(shown.split("±")[1]) > 0
    table = tabulate(study, fabricated(study, VAE=(-100, 1e-4), SKIP_VAE=(-90, 0.5)))  # two seeds that agree by chance
    assert next(metric.digits for metric in table.metrics if metric.key == "elbo") == 1


@pytest.fixture
def table(study: Study) -> Table:
    return tabulate(study, fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1)))


def test_markdown(table: Table) -> None:
    lines = table_formats.markdown(table).splitlines()
    assert lines[0].startswith("| K | model | ELBO |")
    assert "MI ≤ 6.21" in lines[0]
    assert "AU of 3" in lines[0]
    assert len({line.count("|") for line in lines}) == 1
    assert sum("**" in line for line in lines) == 2


def test_latex(table: Table) -> None:
    text = table_formats.latex(table)
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\addlinespace", r"\mathbf{", r"$\le$"):
        assert part in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = text.splitlines()[0].partition("tabular}{")[2].rstrip("}")
    assert {line.count(" & ") + 1 for line in rows} == {len(columns)}
    assert "_" not in text.replace(r"\_", "")


def test_comma_separated_values_are_exact(table: Table) -> None:
    found = list(csv.DictReader(io.StringIO(table_formats.comma_separated(table))))
    assert [line["model"] for line in found] == [row.model for row in table.rows]
    assert float(found[1]["elbo_mean"]) == table.rows[1].cells["elbo"].mean
    assert float(found[1]["elbo_sd"]) == table.rows[1].cells["elbo"].deviation
    assert found[1]["elbo_seeds"] == "4"


def test_terminal(table: Table) -> None:
    from rich.console import Console

    output = io.StringIO()
    Console(file=output, width=120).print(table_formats.terminal(table, "title"))
    text = output.getvalue()
    assert "SKIP-VAE" in text
    assert "Welch" in text
    assert f"{table.rows[1].cells['elbo'].mean:.1f}" in text
