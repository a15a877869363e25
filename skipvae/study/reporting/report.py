"""The report of a study: a table in four formats and pictures, all from the run folders; nothing is trained."""

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
from skipvae.study.reporting.loaded_runs import Trained
from skipvae.study.reporting.model_figures import gallery
from skipvae.study.reporting.page import put_on_page, section
from skipvae.study.reporting.plots import plots
from skipvae.study.reporting.table import Results, tabulate
from skipvae.study.reporting.text_samples import quotes
from skipvae.study.running.progress import open_console
from skipvae.study.status import Record

ON_PAGES = ("by_", "kl_per_dimension", "latent_space", "images")
"""How the names of those pictures begin that a page of several studies shows."""


def report(
    study: Study, output: str | None = None, partial: bool = False, mixed: bool = False, page: str | None = None
) -> None:
    """Prints the table of a study, and writes it with its pictures.

    Args:
        study: what was run.
        output: folder to write to; by default `report` beside the runs.
        partial: leave out runs that are missing, rather than stop.
        mixed: accept runs made with different code or data.
        page: also write the study into this page, whose pictures go to `images/NAME` beside it.

    Raises:
        ValueError: if runs are missing, are not what the study asks for, or do not belong in one table.
    """
    records = {point.name: Record.read(point.folder) for point in study.points}
    missing = [name for name, record in records.items() if record.state != "finished"]
    if missing and (len(missing) == len(records) or not partial):
        raise ValueError(
            f"{len(missing)} of {len(records)} runs are missing, the first is {missing[0]}: "
            f"skipvae study run {study.path}" + (", or report what there is with --partial" if not partial else "")
        )
    if not mixed:
        consistency.check_agreement(study, records, {})
    results = {
        point.name: results_of(point.folder, records[point.name]) for point in study.points if point.name not in missing
    }
    for point in study.points:
        if point.name in results and not mixed:
            consistency.check_measured(point.folder, results[point.name])
    table = tabulate(study, results)
    folder = Path(output) if output else study.folder / "report"
    folder.mkdir(parents=True, exist_ok=True)
    console = open_console()
    for title, part in zip((study.about or study.name, "What the labels say of z."), table.parts(), strict=False):
        console.print(table_formats.terminal(part, title))
    pictures: list[str] = []
    done = [point for point in study.points if point.name in results]
    trained = Trained()
    for name, figure in (*plots(study, table, results), *gallery(study, done, trained)):
        save(figure, folder / name)
        pictures.append(name)
    said = quotes(study, done, trained)
    if said:
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    texts = {
        "table.csv": table_formats.comma_separated(table),
        "table.tex": "\n".join(map(table_formats.latex, table.parts())),
        "report.md": section(study, table, results, records, pictures, said),
    }
    for file_name, text in texts.items():
        with atomic_write(folder / file_name) as file:
            file.write(text)
    for sentence in findings(study, table):
        console.print(sentence.replace("**", ""), soft_wrap=True, highlight=False)
    console.print(_where(study, folder, pictures), soft_wrap=True)
    if page is not None:
        shown = [name for name in pictures if name.startswith(ON_PAGES)]
        copies = Path(page).parent / "images" / study.name
        for name in shown:
            with (folder / f"{name}.png").open("rb") as picture, atomic_write(copies / f"{name}.png", "wb") as copy:
                shutil.copyfileobj(picture, copy)
        paths = [f"images/{study.name}/{name}" for name in shown]
        put_on_page(Path(page), study.name, section(study, table, results, records, paths))  # no corpus is quoted


def _where(study: Study, folder: Path, pictures: list[str]) -> str:
    """Where everything is, and what to type next."""
    run = study.points[-1].folder
    return "\n".join(
        (
            f"table        {folder}/report.md, also as table.tex and table.csv",
            f"pictures     {', '.join(f'{name}.png' for name in pictures)} in the same folder, also as SVG",
            f"checkpoints  {study.folder}/RUN/checkpoints/best.ckpt",
            "",
            "What to type next:",
            f"  tensorboard --logdir {study.folder.parent}",
            f"  skipvae sample --ckpt_path {run}/checkpoints/best.ckpt",
        )
    )


def results_of(folder: Path, record: Record) -> Results:
    """What a test of a run measured, and the seconds that training took.

    Raises:
        FileNotFoundError: if the run's metrics.json is missing.
    """
    file = folder / "metrics.json"
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}: remove {folder} and run the study again")
    return {**json.loads(file.read_text(encoding="utf-8")), "seconds": record.seconds}


def save(figure: Figure, path: Path) -> None:
    """Writes a picture as PNG and SVG; the same picture gives the same files."""
    with mpl.rc_context({"svg.hashsalt": path.name}):
        kinds: dict[str, dict[str, Any]] = {"png": {"dpi": 150}, "svg": {"metadata": {"Date": None}}}
        for kind, options in kinds.items():
            with atomic_write(path.with_name(f"{path.name}.{kind}"), "wb") as file:
                figure.savefig(file, format=kind, **options)
