"""One registry says what is reported, and the docs agree with it."""

import re
from pathlib import Path

from skipvae.metrics.registry import METRICS

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_every_metric_is_explained_once_and_nothing_else() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", PAGE.read_text(encoding="utf-8"), flags=re.M)
    explained = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(explained) == sorted(metric.key for metric in METRICS)


def test_units_are_those_of_the_registry() -> None:
    unit_of = {metric.key: metric.unit for metric in METRICS}
    for names, units in re.findall(r"^\| (`[^|]+) \|([^|]*)\|", PAGE.read_text(encoding="utf-8"), flags=re.M):
        keys, said = re.findall(r"`(\w+)`", names), units.strip().split(", ")
        assert [unit_of[key] for key in keys] == (said if len(said) > 1 else said * len(keys))


def test_keys_and_titles_are_unique() -> None:
    keys, titles = [metric.key for metric in METRICS], [metric.title for metric in METRICS if metric.title]
    assert len(set(keys)) == len(keys)
    assert len(set(titles)) == len(titles)
