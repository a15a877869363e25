"""A study on a page in Markdown: how to make it again, tables, what was found, pictures."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from skipvae.persistence.atomic import atomic_write
from skipvae.study.plan import Study
from skipvae.study.reporting import table_formats
from skipvae.study.reporting.findings import findings
from skipvae.study.reporting.table import Results, Table
from skipvae.study.status import Record


def section(
    study: Study,
    table: Table,
    results: Mapping[str, Results],
    records: Mapping[str, Record],
    pictures: Sequence[str],
    said: str = "",
) -> str:
    """All that there is to say about a study, below a heading of the second level.

    Args:
        study: what was run.
        table: its table.
        results: of the runs, by the name of their point.
        records: of the same runs.
        pictures: paths of its pictures without their endings, relative to the page.
        said: what text models said.
    """
    environments = [records[name].environment for name in results]

    def known(key: str) -> str:
        return ", ".join(sorted({environment.get(key, "") for environment in environments} - {""}))

    seeds = sorted({point.seed for point in study.points if point.name in results})
    hours = sum(records[name].seconds for name in results) / 3600
    facts = {
        "command": f"`skipvae study run {study.path}`",
        "runs": f"{len(results)} of {len(study.points)}, seeds {', '.join(map(str, seeds))}",
        "test examples": ", ".join(sorted({f"{result['num_examples']:,}" for result in results.values()})),
        "hardware": f"{known('hardware')}; {hours:.2f} hours of training in all",
        "code": f"skipvae {known('skipvae')}, commit {known('commit') or 'unknown'}, torch {known('torch')}",
    }
    lines = [f"## {study.name}", "", study.about, "", *(f"- {name}: {text}" for name, text in facts.items()), ""]
    for part in table.parts():
        lines += [table_formats.markdown(part), table_formats.caption(part), ""]
    lines += [f"{sentence}\n" for sentence in findings(study, table)]
    lines += [f"{study.remarks}\n"] if study.remarks else []
    lines += [f"![{Path(picture).name}]({picture}.png)\n" for picture in pictures]
    return "\n".join(filter(None, ["\n".join(lines), said]))


def put_on_page(page: Path, name: str, text: str) -> None:
    """Writes the section of a study into a page, in the place of an earlier one of the same name; else at the end."""
    begin, end = f"<!-- {name}: written by `skipvae study report --page` -->", f"<!-- end of {name} -->"
    before = page.read_text(encoding="utf-8") if page.is_file() else ""
    block = f"{begin}\n{text.strip()}\n{end}\n"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}\n", re.DOTALL)
    after, found = pattern.subn(lambda _: block, before)
    with atomic_write(page) as file:
        file.write(after if found else "\n".join(filter(None, [before, block])))
