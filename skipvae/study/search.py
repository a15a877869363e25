"""The trials of a search: Optuna chooses the settings, and a trial is ordinary runs of the study, one for each seed.

The choices stand in `search.journal` beside the run folders, which processes and machines share; all else follows from
the runs. So a trial that was interrupted is continued by whoever comes first, and its runs are resumed as any run.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from skipvae.study.plan import Run, SearchedRow, Study
from skipvae.study.plan_fields import Settings
from skipvae.study.search_space import Choices, Interval
from skipvae.study.status import RunStatus, is_running

if TYPE_CHECKING:
    import optuna

INTERVAL = 0.5
"""Seconds between two looks at runs that other processes execute."""


@dataclass(frozen=True)
class Trial:
    """A trial of a search.

    Attributes:
        row: the row that it belongs to.
        index: of the trials of this row, from 0.
        number: by which Optuna knows it.
        settings: the chosen ones.
        state: running, finished or failed.
        value: mean of the metric over the seeds, once finished.
        runs: its runs; those of the earliest trial with the same settings, if there is one.
    """

    row: SearchedRow
    index: int
    number: int
    settings: Settings
    state: str
    value: float | None
    runs: tuple[Run, ...]


class Trials:
    """All trials of a study.

    Args:
        study: the study; its file asks for a search.

    Raises:
        ModuleNotFoundError: if Optuna is not installed.
    """

    def __init__(self, study: Study) -> None:
        try:
            import optuna  # an optional extra
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("a study with search: needs Optuna: pip install 'skipvae[search]'") from error
        assert study.search is not None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study, self._search, self._optuna = study, study.search, optuna
        self._journal = study.folder / "search.journal"
        self._lock = FileLock(self._journal.with_suffix(".lock"))

    def read(self) -> list[Trial]:
        """The trials so far, row by row.

        Raises:
            ValueError: if they were made for another search than the study file asks for.
        """
        if not self._journal.is_file():
            return []
        storage = self._storage()
        begun = self._optuna.get_all_study_names(storage)
        return [trial for row in self._study.rows if row.name in begun for trial in self._read(row, storage)]

    def budget(self, row: SearchedRow) -> int:
        """The number of trials of a row: a single one if the model itself fixes all that is searched."""
        return self._search.trials if row.space else 1

    def waves(self, at_once: int) -> Iterator[tuple[Run, ...]]:
        """Runs to execute next, until all trials are done; waits while only other processes have runs.

        Trials that were begun come first; a new one begins where fewer runs are left than can be executed at once.

        Args:
            at_once: the number of runs that this process executes at the same time.

        Raises:
            ValueError: as `read`.
        """
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with self._lock:
                runs, ended = self._next_runs(at_once)
            if runs:
                yield runs
            elif ended:
                return
            else:
                time.sleep(INTERVAL)

    def _next_runs(self, at_once: int) -> tuple[tuple[Run, ...], bool]:
        """Runs to execute, and whether all trials are done."""
        _cut_unfinished_line(self._journal)
        storage = self._storage()
        searches = {row.name: self._begin(row, storage) for row in self._study.rows}
        while True:
            for trial in self.read():
                if trial.state == "running":
                    self._end_if_done(trial, searches[trial.row.name])
            trials = self.read()
            running = [trial for trial in trials if trial.state == "running"]
            runs = {run.name: run for trial in running for run in trial.runs if _is_to_do(run)}
            begun, waiting = (Counter(trial.row.name for trial in part) for part in (trials, running))
            rows = [row for row in self._study.rows if begun[row.name] < self.budget(row)]
            if len(runs) >= at_once or not rows:
                return tuple(runs.values()), not running
            row = min(rows, key=lambda row: (waiting[row.name], begun[row.name]))  # later ones learn from results
            self._ask(row, searches[row.name], begun[row.name])

    def _ask(self, row: SearchedRow, search: "optuna.Study", index: int) -> None:
        """Begins a trial, whose randomness depends on its index alone: not on the process, nor on the row."""
        for unfinished in search.get_trials(deepcopy=False, states=[self._optuna.trial.TrialState.RUNNING]):
            if unfinished.params.keys() != row.space.keys():  # a kill came while it was written
                search.tell(unfinished.number, state=self._optuna.trial.TrialState.FAIL)
        search.sampler = self._optuna.samplers.TPESampler(seed=index)
        search.ask({key: self._distribution(domain) for key, domain in row.space.items()})

    def _end_if_done(self, trial: Trial, search: "optuna.Study") -> None:
        """Notes the value of a trial whose runs are finished, or its failure if one of them has failed."""
        statuses = [RunStatus.read(run.folder) for run in trial.runs]
        states, key = {status.state for status in statuses}, self._search.key
        value = math.nan
        if states == {"finished"}:
            for run, status in zip(trial.runs, statuses, strict=True):
                if key not in status.validation:
                    measured = ", ".join(status.validation)
                    raise ValueError(
                        f"{self._study.path}: search: the validation of {run.name} has {measured}, no {key}"
                    )
            value = fmean(status.validation[key] for status in statuses)
        if math.isfinite(value):
            search.tell(trial.number, value)
        elif "failed" in states or states == {"finished"}:
            search.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    def _storage(self) -> "optuna.storages.JournalStorage":
        """The journal; unlike Optuna's own lock, ours ends with the process that holds it."""
        from optuna.storages import JournalStorage, journal

        return JournalStorage(journal.JournalFileBackend(str(self._journal), self._lock))  # type: ignore[arg-type]

    def _begin(self, row: SearchedRow, storage: "optuna.storages.JournalStorage") -> "optuna.Study":
        """The search of a row, new if there is none."""
        if row.name not in self._optuna.get_all_study_names(storage):
            directions = self._optuna.study.StudyDirection
            direction = directions.MAXIMIZE if self._search.metric.better > 0 else directions.MINIMIZE
            self._optuna.create_study(storage=storage, study_name=row.name, direction=direction)
        search = self._optuna.load_study(study_name=row.name, storage=storage)
        if "asked" not in search.user_attrs:
            search.set_user_attr("asked", self._asked(row))
        return search

    def _asked(self, row: SearchedRow) -> str:
        """All that the trials of a row have in common; their number may grow."""
        space = "; ".join(f"{key}: {domain}" for key, domain in row.space.items())
        return f"{self._search.key} of seeds {', '.join(map(str, self._study.seeds))} by {space or 'nothing'}"

    def _read(self, row: SearchedRow, storage: "optuna.storages.JournalStorage") -> Iterator[Trial]:
        search = self._optuna.load_study(study_name=row.name, storage=storage)
        asked = search.user_attrs.get("asked", self._asked(row))
        if asked != self._asked(row):
            raise ValueError(
                f"{self._journal} searches {row.name} for the best {asked}, and {self._study.path} now asks for "
                f"{self._asked(row)}: remove {self._study.folder} to search again, or give the study another name"
            )
        state = self._optuna.trial.TrialState
        states = {state.RUNNING: "running", state.COMPLETE: "finished"}
        found: list[Trial] = []
        for frozen in search.get_trials(deepcopy=False):
            if frozen.params.keys() == row.space.keys() and len(found) < self.budget(row):
                settings = {
                    key: json.loads(frozen.params[key]) if isinstance(domain, Choices) else frozen.params[key]
                    for key, domain in row.space.items()
                }
                text = json.dumps(settings)  # in which true is not 1
                same = next((trial.runs for trial in found if json.dumps(trial.settings) == text), None)
                runs = same or tuple(run_of_trial(run, row, len(found), settings) for run in row.runs)
                value = frozen.value if frozen.state == state.COMPLETE else None
                found.append(
                    Trial(row, len(found), frozen.number, settings, states.get(frozen.state, "failed"), value, runs)
                )
        yield from found

    def _distribution(self, domain: Choices | Interval) -> Any:
        distributions = self._optuna.distributions
        if isinstance(domain, Choices):
            return distributions.CategoricalDistribution([json.dumps(value) for value in domain.values])
        kind = distributions.IntDistribution if domain.of_integers else distributions.FloatDistribution
        return kind(domain.low, domain.high, log=domain.log)


def run_of_trial(run: Run, row: SearchedRow, index: int, settings: Settings) -> Run:
    """A run of a trial."""
    folder = run.folder.with_name(f"{row.name}-trial{index}-seed{run.seed}")
    return replace(run, folder=folder, settings={**run.settings, **settings}, validated=True)


def _is_to_do(run: Run) -> bool:
    return RunStatus.read(run.folder).state not in ("finished", "failed") and not is_running(run.folder)


def _cut_unfinished_line(journal: Path) -> None:
    """Removes what a full disk or a power cut left of the last line, with which the next one would be lost, too."""
    if journal.is_file():
        content = journal.read_bytes()
        if not content.endswith(b"\n"):
            with journal.open("rb+") as file:
                file.truncate(content.rfind(b"\n") + 1)
