"""The studies of a search: of its trials, of the best of them, and of examples that check its settings."""

from collections.abc import Sequence
from dataclasses import replace

from skipvae.study.plan import Study
from skipvae.study.search import Trial, Trials, run_of_trial
from skipvae.study.status import RunStatus


def with_runs(study: Study, trials: Sequence[Trial]) -> Study:
    """The study with the runs of these trials."""
    runs = {run.name: run for trial in trials for run in trial.runs}
    return replace(study, runs=tuple(runs.values()))


def with_examples(study: Study) -> Study:
    """The study with runs of each model that have examples of all searched values, to check them all at the start."""
    runs = []
    for row in study.rows:
        examples = {key: domain.examples for key, domain in row.space.items()}
        for number in range(max(map(len, examples.values()), default=1)):
            chosen = {key: values[min(number, len(values) - 1)] for key, values in examples.items()}
            runs.append(run_of_trial(row.runs[0], row, number, chosen))
    return replace(study, runs=tuple(runs))


def with_best(study: Study, partial: bool = False) -> Study:
    """The study with the runs of the best trial of each row, which its table is about.

    Args:
        study: the study; returned as it is if it has no search.
        partial: whether the search need not be complete.

    Raises:
        ValueError: if trials are missing, or a row has no finished one.
    """
    if study.search is None:
        return study
    searched = Trials(study)
    trials = searched.read()
    best, total = best_of(study, trials), sum(map(searched.budget, study.rows))
    missing = total - sum(trial.state != "running" for trial in trials)
    if missing and not (partial and best):
        advice = "" if partial else ", or report the finished ones with --partial"
        raise ValueError(f"{missing} of {total} trials are missing: skipvae study run {study.path}{advice}")
    failed = [row.name for row in study.rows if row.name not in best]
    if failed and not (partial and best):
        first = next(trial for trial in trials if trial.row.name == failed[0])
        raise ValueError(f"all trials of {failed[0]} failed, the first by: {reason(first)}; see {first.runs[0].folder}")
    return with_runs(study, list(best.values()))


def best_of(study: Study, trials: Sequence[Trial]) -> dict[str, Trial]:
    """The best finished trial of each row that has one, by the name of the row; of equal ones the first."""
    assert study.search is not None
    better, best = study.search.metric.better, dict[str, Trial]()
    for trial in trials:
        known = best.get(trial.row.name)
        if trial.value is not None and (known is None or better * trial.value > better * (known.value or 0.0)):
            best[trial.row.name] = trial
    return best


def reason(trial: Trial) -> str:
    """Why a trial failed."""
    errors = (RunStatus.read(run.folder).error for run in trial.runs)
    return next(filter(None, errors), "the metric is not finite")
