"""The part of a report about a search: the best values of each model, a table of all trials, and a figure of them."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from skipvae.callbacks.figures import grid
from skipvae.study.plan import Study
from skipvae.study.reporting.plots import colour
from skipvae.study.reporting.table_formats import markdown_rows
from skipvae.study.search import Trial, Trials
from skipvae.study.search_space import Choices, Search
from skipvae.study.search_studies import best_of, reason


@dataclass(frozen=True)
class SearchReport:
    """All trials of a study, for its report.

    Args:
        study: the study.
        search: what it asks for.
        trials: all trials, row by row, the best first.
        best: the best trial of each row.
    """

    study: Study
    search: Search
    trials: Sequence[Trial]
    best: Sequence[Trial]

    @property
    def lines(self) -> list[list[str]]:
        """The table of all trials, below its header: sorted within each row, the best first."""
        header = ["model", "trial", self.search.key, *self.search.space, "state"]
        return [header, *map(self._line, self.trials)]

    def _line(self, trial: Trial) -> list[str]:
        value = "" if trial.value is None else f"{trial.value:.{self.search.metric.digits + 1}f}"
        state = f"failed: {reason(trial)}" if trial.state == "failed" else trial.state
        return [trial.row.name, str(trial.index), value, *self._chosen(trial), state]

    def _chosen(self, trial: Trial) -> list[str]:
        return [_text(trial.settings[key]) if key in trial.settings else "fixed" for key in self.search.space]

    def csv(self) -> str:
        """The same in full precision, for other programs."""
        output = io.StringIO()
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow(self.lines[0])
        for trial in self.trials:
            chosen = [json.dumps(trial.settings[key]) if key in trial.settings else "" for key in self.search.space]
            value = "" if trial.value is None else trial.value
            writer.writerow([trial.row.name, trial.index, value, *chosen, trial.state])
        return output.getvalue()

    def sentences(self) -> list[str]:
        """How the values in the table of the study were chosen, and what they are."""
        seeds = len(self.study.seeds)
        metric = f"mean {self.search.key} of {seeds} seeds" if seeds > 1 else self.search.key
        counts = {sum(trial.row is row for trial in self.trials) for row in self.study.rows if row.space}
        of = f"{counts.pop()} trials" if len(counts) == 1 else "its trials so far"
        return [
            f"The settings of each model are those with the best {metric} on the validation split, of {of}. The test "
            "split had no part in the choice: the test results are those of the chosen trial's runs.",
            *(f"{trial.row.name}: {self._settings(trial)} (trial {trial.index})" for trial in self.best),
        ]

    def _settings(self, trial: Trial) -> str:
        return ", ".join(f"{key} {_text(value)}" for key, value in trial.settings.items()) or "all settings are fixed"

    def section(self) -> str:
        """In Markdown: the choice, and all trials."""
        choice, *chosen = self.sentences()
        return "\n\n".join([choice, "\n".join(f"- {line}" for line in chosen), markdown_rows(self.lines, 2)])

    def figure(self) -> Figure:
        """The metric against each searched setting, a point for each finished trial; the best has a ring."""
        figure, axes = grid(len(self.search.space))
        for axis, (key, domain) in zip(axes, self.search.space.items(), strict=True):
            for row in self.study.rows:
                style: dict[str, Any] = {"color": colour(self.study, row.runs[0].model), "s": 14, "label": row.name}
                done = [trial for trial in self.trials if trial.row is row and trial.value is not None]
                x, y = self._points(key, done)
                axis.scatter(x, y, **style)
                x, y = self._points(key, [trial for trial in self.best if trial.row is row])
                axis.scatter(x, y, s=70, facecolors="none", edgecolors=style["color"])
            axis.set(xlabel=key, ylabel=self.search.key)
            if isinstance(domain, Choices):
                axis.set_xticks(range(len(domain.values)), list(map(_text, domain.values)))
            else:
                axis.set_xscale("log" if domain.log else "linear")
                ticks = sorted({domain.low, domain.middle, domain.high})
                axis.set_xticks(ticks, list(map(_text, ticks)))
                axis.minorticks_off()  # on a logarithmic axis they would have labels of their own
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", fontsize="small")
        figure.suptitle("all trials on the validation split; the chosen ones have a ring")
        return figure

    def _points(self, key: str, trials: Sequence[Trial]) -> tuple[list[Any], list[Any]]:
        """Of the trials that chose this setting, their values of it and of the metric."""
        domain, having = self.search.space[key], [trial for trial in trials if key in trial.settings]
        chosen = [trial.settings[key] for trial in having]
        x = [domain.values.index(value) for value in chosen] if isinstance(domain, Choices) else chosen
        return x, [trial.value for trial in having]


def search_report(study: Study) -> SearchReport | None:
    """What a report says about the search of a study; None without one."""
    if study.search is None:
        return None
    trials = Trials(study).read()
    better = study.search.metric.better

    def rank(trial: Trial) -> tuple[int, bool, float]:
        return study.rows.index(trial.row), trial.value is None, -better * (trial.value or 0.0)

    return SearchReport(study, study.search, sorted(trials, key=rank), list(best_of(study, trials).values()))


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
