"""The commands `skipvae study run FILE` and `skipvae study report FILE`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from rich import box
from rich.table import Table

from skipvae.persistence.strict_yaml import load_text
from skipvae.study import consistency
from skipvae.study.options import parse_options
from skipvae.study.plan import Run, Study, read_study
from skipvae.study.provenance import code_digests
from skipvae.study.reporting.report import report
from skipvae.study.running import executors
from skipvae.study.running.progress import open_console, show_progress
from skipvae.study.running.worker import Launch, train_and_test
from skipvae.study.search import Trials
from skipvae.study.search_studies import with_best, with_examples, with_runs
from skipvae.study.status import RunStatus, is_running


def main(args: list[str], launch: Launch, parse: consistency.Parse) -> None:
    """Runs `skipvae study`.

    Args:
        args: the arguments after `study` on the command line.
        launch: runs other commands of the command line in this process.
        parse: the config that such a command asks for.
    """
    options = parse_options(args)
    study = read_study(options.file)
    if options.command == "report":
        study = with_best(study, options.partial)
        consistency.check_configs(study, consistency.resolve(study, parse))
        report(study, options.output, options.partial, options.allow_mixed, options.page)
    elif study.search is None:
        run_study(study, options, launch, parse)
    elif options.only is not None:
        run_study(with_runs(study, Trials(study).read()), options, launch, parse)
    else:
        run_search(study, options, launch, parse)


def run_study(study: Study, options: argparse.Namespace, launch: Launch, parse: consistency.Parse) -> None:
    """Trains and tests the runs of a study that are not finished, then reports.

    Ends the process with status 1 if a run failed, 130 on Ctrl-C, 143 on SIGTERM.
    """
    study = _restricted(study, options.only)
    code = _code(study, parse)
    statuses = _statuses(study)
    finished = all(status.state == "finished" for status in statuses.values())
    if not options.allow_mixed:
        consistency.check_agreement(study, statuses, {} if finished else code)
    console = open_console()
    if options.dry_run:
        console.print(_overview(study, statuses))
        return
    todo = [run for run in study.runs if statuses[run.name].state != "finished" and not is_running(run.folder)]
    console.print(
        f"{study.name}: {len(study.runs)} runs, {len(study.runs) - len(todo)} of them finished or running",
        soft_wrap=True,
    )
    with _stoppable(study):
        _execute(todo, code, options, launch)
    statuses = _statuses(study)
    unfinished = [run.name for run in study.runs if statuses[run.name].state != "finished"]
    if unfinished:
        console.print(_overview(study, statuses))
        console.print(f"{len(unfinished)} of {len(study.runs)} runs did not finish; their logs say why", soft_wrap=True)
        sys.exit(1)
    if not options.only:
        report(study, options.output, partial=False, allow_mixed=options.allow_mixed)


def run_search(study: Study, options: argparse.Namespace, launch: Launch, parse: consistency.Parse) -> None:
    """Executes the trials of a study's search that are not done, then reports the best of each model.

    Ends the process as `run_study` does; a failed trial is a result like others.
    """
    trials, console = Trials(study), open_console()
    consistency.resolve(with_examples(study), parse)
    so_far = with_runs(study, trials.read())
    _code(so_far, parse)
    statuses = _statuses(so_far)
    for row in study.rows:
        space = ", ".join(f"{key} ({domain})" for key, domain in row.space.items()) or "none, all are fixed"
        plan = f"{row.name}: {trials.budget(row)} trials, each with {len(study.seeds)} runs; searched settings: {space}"
        console.print(plan, soft_wrap=True, markup=False)
    if options.dry_run:
        if so_far.runs:
            console.print(_overview(so_far, statuses))
        return
    with _stoppable(study):
        for runs in trials.waves(options.jobs):
            code = _code(replace(study, runs=runs), parse)
            if not options.allow_mixed:
                consistency.check_agreement(so_far, statuses, code)
            _execute(runs, code, options, launch)
    run_study(with_best(study), options, launch, parse)


def _code(study: Study, parse: consistency.Parse) -> dict[str, str]:
    """Digests of the code that runs are made with now, once their configs are known to be those of the study."""
    configs = consistency.resolve(study, parse)
    consistency.check_configs(study, configs)
    return code_digests(list(configs.values()))


def _statuses(study: Study) -> dict[str, RunStatus]:
    return {run.name: RunStatus.read(run.folder) for run in study.runs}


@contextmanager
def _stoppable(study: Study) -> Iterator[None]:
    """Ends the process with a message when it is stopped in between."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        open_console().print(
            f"Stopped; what was trained is kept. To continue: skipvae study run {study.path}", soft_wrap=True
        )
        sys.exit(130 if isinstance(stop, KeyboardInterrupt) else stop.code)


def _restricted(study: Study, only: Sequence[str] | None) -> Study:
    unknown = set(only or ()) - {run.name for run in study.runs}
    if unknown:
        names = ", ".join(run.name for run in study.runs)
        raise ValueError(f"{study.path} has no run {sorted(unknown)[0]}: choose from {names}")
    return replace(study, runs=tuple(run for run in study.runs if only is None or run.name in only))


def _execute(todo: Sequence[Run], code: dict[str, str], options: argparse.Namespace, launch: Launch) -> None:
    if not todo:
        return
    for run in todo:
        RunStatus.read(run.folder).queued().write(run.folder)
    command = [sys.executable, "-m", "skipvae", "study", "run", options.file, "--allow_mixed", "--only"]
    with show_progress(todo, open_console()):
        if options.cluster:
            settings = dict(map(_setting, options.cluster_options))
            folder = todo[0].folder.parent / "cluster"
            executors.run_cluster(todo, command, options.cluster, settings, options.jobs, folder)
        elif options.jobs > 1:
            executors.run_processes(todo, command, options.jobs)
        else:
            for run in todo:
                if RunStatus.read(run.folder).state not in ("finished", "failed"):  # by another process meanwhile
                    with suppress(BlockingIOError):  # another process was faster
                        train_and_test(run, code, launch)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--cluster_options takes KEY=VALUE, not {text}")
    return key, load_text(value)


def _overview(study: Study, statuses: dict[str, RunStatus]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("run", "state", "steps", "settings"):
        table.add_column(column, overflow="fold")
    for run in study.runs:
        status = statuses[run.name]
        steps = f"{status.step}/{status.num_steps}" if status.num_steps else ""
        table.add_row(run.name, status.state, steps, " ".join(f"{k}={v}" for k, v in run.settings.items()))
    return table
