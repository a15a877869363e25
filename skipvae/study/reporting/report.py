"""The report of a study: a table in four formats and figures, all from the run folders; nothing is trained."""

import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from skipvae.persistence.atomic import atomic_write
from skipvae.study import consistency
from skipvae.study.plan import Study
from skipvae.study.reporting import table_formats
from skipvae.study.reporting.findings import findings
from skipvae.study.reporting.loaded_runs import LoadedRuns
from skipvae.study.reporting.model_figures import model_figures
from skipvae.study.reporting.page import put_on_page, section
from skipvae.study.reporting.plots import plots
from skipvae.study.reporting.search_report import search_report
from skipvae.study.reporting.table import Results, tabulate
from skipvae.study.reporting.text_samples import text_samples
from skipvae.study.running.progress import open_console
from skipvae.study.search_studies import with_best
from skipvae.study.status import RunStatus

ON_PAGES = ("search", "by_", "kl_per_dimension", "latent_space", "images")
"""Prefixes of the names of the figures that a page of several studies shows."""


def report(
    study: Study, output: str | None = None, partial: bool = False, allow_mixed: bool = False, page: str | None = None
) -> None:
    """Prints the table of a study, and writes it with its figures.

    Args:
        study: the study.
        output: folder to write to; by default `report` beside the runs.
        partial: leave out runs that are missing, rather than stop.
        allow_mixed: accept runs made with different code or data.
        page: also write the study into this page, whose figures go to `images/NAME` beside it.

    Of a search, the table is about the best trial of each model.

    Raises:
        ValueError: if runs are missing, or are not comparable in one table.
    """
    study = with_best(study, partial)
    statuses = {run.name: RunStatus.read(run.folder) for run in study.runs}
    missing = [name for name, status in statuses.items() if status.state != "finished"]
    if missing and (len(missing) == len(statuses) or not partial):
        raise ValueError(
            f"{len(missing)} of {len(statuses)} runs are missing, the first is {missing[0]}: "
            f"skipvae study run {study.path}" + (", or report the finished ones with --partial" if not partial else "")
        )
    if not allow_mixed:
        consistency.check_agreement(study, statuses, {})
    results = {run.name: results_of(run.folder, statuses[run.name]) for run in study.runs if run.name not in missing}
    for run in study.runs:
        if run.name in results and not allow_mixed:
            consistency.check_measured(run.folder, results[run.name])
    table = tabulate(study, results)
    folder = Path(output) if output else study.folder / "report"
    folder.mkdir(parents=True, exist_ok=True)
    console = open_console()
    for title, part in zip((study.about or study.name, "What z says about the labels."), table.parts(), strict=False):
        console.print(table_formats.terminal(part, title))
    figures: list[str] = []
    done = [run for run in study.runs if run.name in results]
    loaded, searched = LoadedRuns(), search_report(study)
    of_search = [("search", searched.figure())] if searched is not None else []
    for name, figure in (*of_search, *plots(study, table, results), *model_figures(study, done, loaded)):
        save(figure, folder / name)
        figures.append(name)
    texts, found = text_samples(study, done, loaded), findings(study, table)
    trials = searched.section() if searched is not None else ""
    if texts:
        console.print(texts, markup=False, highlight=False, soft_wrap=True)
    files = {
        "table.csv": table_formats.comma_separated(table),
        "table.tex": "\n".join(map(table_formats.latex, table.parts())),
        "report.md": section(study, table, results, statuses, found, figures, texts, trials),
    }
    if searched is not None:
        files["trials.csv"] = searched.csv()
    for file_name, text in files.items():
        with atomic_write(folder / file_name) as file:
            file.write(text)
    for sentence in (*(searched.sentences() if searched is not None else ()), *found):
        console.print(sentence.replace("**", ""), soft_wrap=True, highlight=False, markup=False)
    for message in loaded.missing:
        console.print(message, soft_wrap=True, highlight=False, markup=False)
    console.print(_where(study, folder, figures), soft_wrap=True)
    if page is not None:
        shown = [name for name in figures if name.startswith(ON_PAGES)]
        copies = Path(page).parent / "images" / study.name
        for name in shown:
            with (folder / f"{name}.png").open("rb") as picture, atomic_write(copies / f"{name}.png", "wb") as copy:
                shutil.copyfileobj(picture, copy)
        paths = [f"images/{study.name}/{name}" for name in shown]
        text = section(study, table, results, statuses, found, paths, trials=trials)  # no corpus is quoted
        put_on_page(Path(page), study.name, text)


def _where(study: Study, folder: Path, figures: list[str]) -> str:
    """The locations of the files, and the next commands."""
    run = study.runs[-1].folder
    return "\n".join(
        (
            f"table        {folder}/report.md, also as table.tex and table.csv",
            f"figures      {', '.join(f'{name}.png' for name in figures)} in the same folder, also as SVG",
            f"checkpoints  {study.folder}/RUN/checkpoints/best.ckpt",
            "",
            "Next:",
            f"  tensorboard --logdir {study.folder.parent}",
            f"  skipvae sample --ckpt_path {run}/checkpoints/best.ckpt",
        )
    )


def results_of(folder: Path, status: RunStatus) -> Results:
    """Results of the test of a run, and the seconds of its training.

    Raises:
        FileNotFoundError: if the run's metrics.json is missing.
    """
    file = folder / "metrics.json"
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}: remove {folder} and run the study again")
    return {**json.loads(file.read_text(encoding="utf-8")), "seconds": status.seconds}


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG and SVG; the same figure gives the same files."""
    with mpl.rc_context({"svg.hashsalt": path.name}):
        kinds: dict[str, dict[str, Any]] = {"png": {"dpi": 150}, "svg": {"metadata": {"Date": None}}}
        for kind, options in kinds.items():
            with atomic_write(path.with_name(f"{path.name}.{kind}"), "wb") as file:
                figure.savefig(file, format=kind, **options)
