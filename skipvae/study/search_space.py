"""The field `search` of a study file: the settings that a search chooses, the number of its trials, and its metric."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skipvae.metrics.registry import METRICS, Metric
from skipvae.study.plan_fields import Fields

NUMBERS = (int, float)


@dataclass(frozen=True)
class Choices:
    """A setting that takes one of several values, of any type."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ", ".join(map(json.dumps, self.values))

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that the command line has to accept."""
        return self.values


@dataclass(frozen=True)
class Interval:
    """A number from `low` to `high`, both included: an integer if both are; uniform in its logarithm by `log`."""

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low} to {self.high}{', log' if self.log else ''}"

    @property
    def of_integers(self) -> bool:
        """Whether the values are integers."""
        return type(self.low) is int and type(self.high) is int

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values that the command line has to accept."""
        return self.low, self.high

    @property
    def middle(self) -> float:
        """Of the axis that it is drawn on."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return round(middle) if self.of_integers else middle


Space = Mapping[str, Choices | Interval]
"""The searched settings by command line key."""


@dataclass(frozen=True)
class Search:
    """The field `search`.

    Attributes:
        space: the searched settings.
        trials: the number of combinations that each row of the table tries.
        metric: whose mean over the seeds is the value of a trial, on the validation split.
    """

    space: Space
    trials: int
    metric: Metric

    @property
    def key(self) -> str:
        """The metric's name in the logs, such as `val/elbo`."""
        return f"val/{self.metric.key}"


def read_search(given: Any, fields: Fields) -> Search:
    """The field `search` of a study file.

    Args:
        given: its content.
        fields: the study file.

    Raises:
        ValueError: if it does not describe a search.
    """
    asked = Fields(fields.path, given, {"space", "trials", "metric"}, where="search")
    space = {key: _domain(asked, key, value) for key, value in asked.mapping("space").items()}
    if not space:
        asked.fail("name the settings to choose under space:, such as {model.optimizer.lr: {low: 1e-4, high: 1e-2}}")
    trials = asked.values.get("trials")
    if type(trials) is not int or trials < 1:
        asked.fail(f"trials must be the number of trials of each model, such as 20, not {trials!r}")
    return Search(space, trials, _metric(asked))


def _metric(asked: Fields) -> Metric:
    """The metric, of those that a validation logs and that have a direction."""
    name = asked.text("metric", "val/elbo")
    metrics = {f"val/{metric.key}": metric for metric in METRICS if metric.logged and metric.better}
    if name.startswith("test/"):
        asked.fail(f"metric: a search must not choose by test data: give val/{name.removeprefix('test/')}")
    if name not in metrics:
        asked.fail(f"metric: there is no metric {name} to search by: choose from {', '.join(metrics)}")
    return metrics[name]


def _domain(asked: Fields, key: str, value: Any) -> Choices | Interval:
    if isinstance(value, list):
        if not value or len({json.dumps(item) for item in value}) < len(value):
            asked.fail(f"space: {key}: list different values, such as [true, false], not {value}")
        return Choices(tuple(value))
    if not isinstance(value, dict):
        asked.fail(f"space: {key}: give a list of values or {{low: ..., high: ...}}, not {value!r}")
    given = Fields(asked.path, value, {"low", "high", "log"}, where=f"search: space: {key}").values
    low: Any = given.get("low")
    high: Any = given.get("high")
    log = given.get("log", False)
    if type(low) not in NUMBERS or type(high) not in NUMBERS or not low < high:  # NaN included
        asked.fail(f"space: {key}: low and high must be numbers, low the smaller one, not {low!r} and {high!r}")
    if type(log) is not bool or (log and low <= 0):
        asked.fail(f"space: {key}: log must be true or false, and low above zero with it, not {log!r} and {low!r}")
    return Interval(low, high, log)
