"""`skipvae study run FILE` and `skipvae study report FILE`."""

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
from skipvae.study.plan import Point, Study, read_study
from skipvae.study.provenance import code_digests
from skipvae.study.reporting.report import report
from skipvae.study.running import executors
from skipvae.study.running.progress import open_console, watched
from skipvae.study.running.worker import Launch, run_point
from skipvae.study.status import Record, is_running

DESCRIPTION = "Many runs, one table: models against what is varied, each with several seeds."


def main(args: list[str], launch: Launch) -> None:
    """Parses and runs `skipvae study`.

    Args:
        args: what stands behind `study` on the command line.
        launch: runs other commands of the command line in this process.
    """
    parser = argparse.ArgumentParser(prog="skipvae study", description=DESCRIPTION, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("run", "do what is left to do of a study, then report"),
        ("report", "write table and pictures"),
    ):
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument("file", help="the study file, such as configs/quickstart/images.yaml")
        command.add_argument("--mixed", action="store_true", help="accept runs made with different code or data")
        command.add_argument("--output", help="folder of the report; by default lightning_logs/NAME/report")
    command = commands.choices["run"]
    command.add_argument("--jobs", type=int, default=1, help="runs at a time, each on its own GPU where there are GPUs")
    command.add_argument("--only", nargs="+", metavar="POINT", help="run these points only, without a report")
    command.add_argument("--dry_run", action="store_true", help="print the runs and how far they are; start nothing")
    command.add_argument("--cluster", choices=("slurm", "local", "debug"), help="hand the runs to submitit")
    command.add_argument(
        "--cluster_options", nargs="+", default=[], metavar="KEY=VALUE", help="for submitit, such as timeout_min=600"
    )
    commands.choices["report"].add_argument("--partial", action="store_true", help="leave out runs that are missing")
    commands.choices["report"].add_argument("--page", help="also write the study into this Markdown page of results")
    options = parser.parse_args(args)
    study = read_study(options.file)
    if options.command == "report":
        consistency.check_configs(study, consistency.resolve(study, launch))
        report(study, options.output, options.partial, options.mixed, options.page)
    else:
        run(study, options, launch)


def run(study: Study, options: argparse.Namespace, launch: Launch) -> None:
    """Does what is left to do of a study.

    Ends the process with status 1 if a point failed, 130 on Ctrl-C, 143 on SIGTERM.
    """
    study = _restricted(study, options.only)
    configs = consistency.resolve(study, launch)
    consistency.check_configs(study, configs)
    code = code_digests(list(configs.values()))
    records = {point.name: Record.read(point.folder) for point in study.points}
    todo = [point for point in study.points if records[point.name].state != "finished"]
    if not options.mixed:
        consistency.check_agreement(study, records, code if todo else {})
    console = open_console()
    if options.dry_run:
        console.print(_overview(study, records))
        return
    busy = [point for point in todo if is_running(point.folder)]
    todo = [point for point in todo if point not in busy]
    console.print(
        f"{study.name}: {len(study.points)} runs, {len(study.points) - len(todo)} of them done or under way",
        soft_wrap=True,
    )
    try:
        _execute(todo, code, options, launch)
    except (KeyboardInterrupt, SystemExit) as stop:
        console.print(f"Stopped; what was trained is kept. To continue: skipvae study run {study.path}", soft_wrap=True)
        sys.exit(130 if isinstance(stop, KeyboardInterrupt) else stop.code)
    records = {point.name: Record.read(point.folder) for point in study.points}
    unfinished = [point.name for point in study.points if records[point.name].state != "finished"]
    if unfinished:
        console.print(_overview(study, records))
        console.print(
            f"{len(unfinished)} of {len(study.points)} runs did not finish; their logs say why", soft_wrap=True
        )
        sys.exit(1)
    if not options.only:
        report(study, options.output, partial=False, mixed=options.mixed)


def _restricted(study: Study, only: Sequence[str] | None) -> Study:
    unknown = set(only or ()) - {point.name for point in study.points}
    if unknown:
        names = ", ".join(point.name for point in study.points)
        raise ValueError(f"{study.path} has no point {sorted(unknown)[0]}: choose from {names}")
    return replace(study, points=tuple(point for point in study.points if only is None or point.name in only))


def _execute(todo: Sequence[Point], code: dict[str, str], options: argparse.Namespace, launch: Launch) -> None:
    if not todo:
        return
    for point in todo:
        Record.read(point.folder).queued().write(point.folder)
    command = [sys.executable, "-m", "skipvae", "study", "run", options.file, "--mixed", "--only"]
    with watched(todo, open_console()):
        if options.cluster:
            settings = dict(map(_setting, options.cluster_options))
            folder = todo[0].folder.parent / "cluster"
            executors.run_cluster(todo, command, options.cluster, settings, options.jobs, folder)
        elif options.jobs > 1:
            executors.run_processes(todo, command, options.jobs)
        else:
            for point in todo:
                with suppress(BlockingIOError):  # another process was faster
                    run_point(point, code, launch)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--cluster_options takes KEY=VALUE, not {text}")
    return key, load_text(value)


def _overview(study: Study, records: dict[str, Record]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("run", "state", "steps", "settings"):
        table.add_column(column, overflow="fold")
    for point in study.points:
        record = records[point.name]
        steps = f"{record.step}/{record.num_steps}" if record.num_steps else ""
        table.add_row(point.name, record.state, steps, " ".join(f"{k}={v}" for k, v in point.settings.items()))
    return table
