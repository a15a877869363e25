"""The commands `skipvae study run FILE` and `skipvae study report FILE`."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
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
        consistency.check_configs(study, consistency.resolve(study, parse))
        report(study, options.output, options.partial, options.allow_mixed, options.page)
    else:
        run_study(study, options, launch, parse)


def run_study(study: Study, options: argparse.Namespace, launch: Launch, parse: consistency.Parse) -> None:
    """Trains and tests the runs of a study that are not finished, then reports.

    Ends the process with status 1 if a run failed, 130 on Ctrl-C, 143 on SIGTERM.
    """
    study = _restricted(study, options.only)
    configs = consistency.resolve(study, parse)
    consistency.check_configs(study, configs)
    code = code_digests(list(configs.values()))
    statuses = {run.name: RunStatus.read(run.folder) for run in study.runs}
    todo = [run for run in study.runs if statuses[run.name].state != "finished"]
    if not options.allow_mixed:
        consistency.check_agreement(study, statuses, code if todo else {})
    console = open_console()
    if options.dry_run:
        console.print(_overview(study, statuses))
        return
    busy = [run for run in todo if is_running(run.folder)]
    todo = [run for run in todo if run not in busy]
    console.print(
        f"{study.name}: {len(study.runs)} runs, {len(study.runs) - len(todo)} of them finished or running",
        soft_wrap=True,
    )
    try:
        _execute(todo, code, options, launch)
    except (KeyboardInterrupt, SystemExit) as stop:
        console.print(f"Stopped; what was trained is kept. To continue: skipvae study run {study.path}", soft_wrap=True)
        sys.exit(130 if isinstance(stop, KeyboardInterrupt) else stop.code)
    statuses = {run.name: RunStatus.read(run.folder) for run in study.runs}
    unfinished = [run.name for run in study.runs if statuses[run.name].state != "finished"]
    if unfinished:
        console.print(_overview(study, statuses))
        console.print(f"{len(unfinished)} of {len(study.runs)} runs did not finish; their logs say why", soft_wrap=True)
        sys.exit(1)
    if not options.only:
        report(study, options.output, partial=False, allow_mixed=options.allow_mixed)


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
