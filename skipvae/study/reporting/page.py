"""A section about a study in Markdown: how to reproduce it, tables, findings, figures."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from skipvae.persistence.atomic import atomic_write
from skipvae.study.plan import Study
from skipvae.study.reporting import table_formats
from skipvae.study.reporting.table import Results, Table
from skipvae.study.status import RunStatus


def section(
    study: Study,
    table: Table,
    results: Mapping[str, Results],
    statuses: Mapping[str, RunStatus],
    findings: Sequence[str],
    figures: Sequence[str],
    texts: str = "",
    trials: str = "",
) -> str:
    """The section of a study, below a heading of the second level.

    Args:
        study: the study.
        table: its table.
        results: of the finished runs, by name.
        statuses: of the same runs.
        findings: sentences in Markdown.
        figures: paths of its figures without their endings, relative to the page.
        texts: output of text models, in Markdown.
        trials: of a search, in Markdown.
    """
    environments = [statuses[name].environment for name in results]

    def known(key: str) -> str:
        return ", ".join(sorted({environment.get(key, "") for environment in environments} - {""}))

    seeds = sorted({run.seed for run in study.runs if run.name in results})
    hours = sum(statuses[name].seconds for name in results) / 3600
    facts = {
        "command": f"`skipvae study run {study.path}`",
        "runs": f"{len(results)} of {len(study.runs)}, seeds {', '.join(map(str, seeds))}",
        "test examples": ", ".join(sorted({f"{result['num_examples']:,}" for result in results.values()})),
        "hardware": f"{known('hardware')}; {hours:.2f} hours of training in all",
        "code": f"skipvae {known('skipvae')}, commit {known('commit') or 'unknown'}, torch {known('torch')}",
    }
    lines = [f"## {study.name}", "", study.about, "", *(f"- {name}: {text}" for name, text in facts.items()), ""]
    for part in table.parts():
        lines += [table_formats.markdown(part), table_formats.caption(part), ""]
    lines += [trials] if trials else []
    lines += [f"{sentence}\n" for sentence in findings]
    lines += [f"{study.remarks}\n"] if study.remarks else []
    lines += [f"![{Path(figure).name}]({figure}.png)\n" for figure in figures]
    return "\n".join(filter(None, ["\n".join(lines), texts]))


def put_on_page(page: Path, name: str, text: str) -> None:
    """Writes the section of a study into a page: replaces the section of the same name, else appends it."""
    begin, end = f"<!-- {name}: written by `skipvae study report --page` -->", f"<!-- end of {name} -->"
    before = page.read_text(encoding="utf-8") if page.is_file() else ""
    block = f"{begin}\n{text.strip()}\n{end}\n"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}\n", re.DOTALL)
    after, found = pattern.subn(lambda _: block, before)
    with atomic_write(page) as file:
        file.write(after if found else "\n".join(filter(None, [before, block])))
