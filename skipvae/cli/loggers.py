"""The loggers of a command: where they write, and the runs of W&B and MLflow that a resumed run continues."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

from skipvae.callbacks import RunLogger
from skipvae.persistence import saved_runs
from skipvae.persistence.atomic import atomic_write
from skipvae.persistence.spec import class_at

IDS = "loggers.json"
"""File in a run folder: the ids under which W&B and MLflow know the run."""
PACKAGES = {WandbLogger: "wandb", MLFlowLogger: "mlflow"}
"""Packages that loggers need beside our own requirements; an extra of ours has the same name."""
UNSET = (None, "", ".", saved_runs.LOG_ROOT)
"""Values of a logger's arguments that nobody chose: defaults of Lightning's classes, and those of `RunLogger`, which
the parser keeps where the command line replaces that class by another."""


def with_save_dir(args: Sequence[str]) -> list[str]:
    """The command line with a `save_dir` for loggers that require one and are named without; see `place_loggers`.

    Example:
        >>> with_save_dir(["--trainer.logger+=CSVLogger"])
        ['--trainer.logger+=CSVLogger', '--trainer.logger.save_dir=lightning_logs']
    """
    found = list[str]()
    for before, arg in zip(("", *args), args, strict=False):
        found.append(arg)
        option, _, value = arg.partition("=") if "=" in arg else (before, "=", arg)
        needs = value.rpartition(".")[2] in (CSVLogger.__name__, TensorBoardLogger.__name__)
        if option.rstrip("+") == "--trainer.logger" and needs:
            found.append(f"--trainer.logger.save_dir={saved_runs.LOG_ROOT}")
    return found


def place_loggers(config: Namespace, folder: Path, run: Path) -> list[str | None]:
    """Sets in the config where each logger writes, as far as the user did not: into the folder, or under its name.

    Args:
        config: of the command.
        folder: for the files of the command: the run folder, or one in it for results of other settings.
        run: the run folder, ROOT/NAME/VERSION.

    Returns:
        The service of each logger, for `KeepIds`.

    Raises:
        ModuleNotFoundError: if a logger's package is not installed.
        ValueError: if a `RunLogger` was given another folder.
    """
    ids, services = read_ids(folder), list[str | None]()
    for logger in _loggers_in(config):
        kind, given = class_at(logger.class_path), logger.get("init_args") or Namespace()  # type: ignore[no-untyped-call]
        for base, package in PACKAGES.items():
            if issubclass(kind, base) and find_spec(package) is None:
                raise ModuleNotFoundError(
                    f"{kind.__name__} needs the package {package}, which is not installed: "
                    f"pip install 'skipvae[{package}]'"
                )
        if issubclass(kind, RunLogger):
            _refuse_other_folder(given, folder, config.name)
            given.save_dir = given.name = given.version = None  # the same folder, written in another way
        for name, value in _places(kind, given, folder, run).items():
            if name in given and given[name] in UNSET:
                given[name] = value
        services.append(where := _service(kind, given))
        if where in ids:
            given["id" if issubclass(kind, WandbLogger) else "run_id"] = ids[where]
    return services


def _refuse_other_folder(given: Namespace, folder: Path, name: str) -> None:
    for option, known in (
        ("save_dir", {saved_runs.LOG_ROOT, str(folder.parent.parent)}),
        ("name", {"", name, folder.parent.name}),
        ("version", {None, folder.name}),
    ):
        if given[option] not in known:
            raise ValueError(
                f"the logs of a run lie in its folder {folder}, so leave out --trainer.logger.{option}: "
                "--trainer.default_root_dir, --name and --version set that folder"
            )


def _places(kind: type, given: Namespace, folder: Path, run: Path) -> dict[str, Any]:
    """The arguments of a logger that say where it writes, for a run."""
    group, name = run.parent.name, str(folder.relative_to(run.parent))
    own_folder = given.get("save_dir") in UNSET
    if issubclass(kind, TensorBoardLogger) and own_folder:
        return {"save_dir": str(folder.parent.parent), "name": folder.parent.name, "version": folder.name}
    if issubclass(kind, CSVLogger) and own_folder:  # it deletes the file of an earlier command, so each has a version_N
        return {"save_dir": str(folder), "name": "csv"}
    if issubclass(kind, WandbLogger):
        names = {"project": group, "name": name}
        chosen = {argument for argument in names if f"WANDB_{argument.upper()}" in os.environ}
        place = str(folder.resolve())  # W&B writes in a process of its own, which may work in another folder
        return {"save_dir": place, **{key: value for key, value in names.items() if key not in chosen}}
    if issubclass(kind, MLFlowLogger):
        names = {"experiment_name": group, "run_name": name}
        if given.get("tracking_uri") or own_folder is False:
            return names
        root = run.parent.parent.resolve()  # one database for all runs, which MLflow is there to compare
        database = f"sqlite:///{(root / 'mlflow.db').as_posix()}"
        return {**names, "tracking_uri": database, "artifact_location": (root / "mlflow").as_uri()}
    return {}


def _loggers_in(config: Namespace) -> list[Namespace]:
    """The loggers of a config, as classes with arguments."""
    asked = config.trainer.logger
    loggers = asked if isinstance(asked, list) else [asked]
    return [logger for logger in loggers if isinstance(logger, Namespace)]


def _service(kind: type, given: Namespace) -> str | None:
    """Where a logger keeps the run under an id of its own; None if there is none, or the user gave the id."""
    if (
        issubclass(kind, WandbLogger)
        and "WANDB_RUN_ID" not in os.environ
        and not (given.get("id") or given.get("version"))
    ):
        return f"W&B {given.get('entity') or ''}/{given.get('project') or ''}"
    if issubclass(kind, MLFlowLogger) and not given.get("run_id"):
        return f"MLflow {given.get('tracking_uri')} {given.get('experiment_name')}"
    return None


def read_ids(folder: Path) -> dict[str, str]:
    """The ids of a run by service; none if no such logger has seen it."""
    with suppress(OSError, ValueError):
        ids = json.loads((folder / IDS).read_text(encoding="utf-8"))
        return ids if isinstance(ids, dict) else {}
    return {}


class KeepIds(Callback):
    """Keeps the ids that W&B and MLflow give a run in its folder, so that the next command continues that run.

    Args:
        folder: for the file.
        services: of each logger of the trainer, None for those that have no such ids.
    """

    def __init__(self, folder: Path, services: Sequence[str | None]) -> None:
        self._folder, self._services = folder, services

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes the file; by now Lightning has started the run of every logger."""
        if not trainer.is_global_zero:
            return
        new = {place: logger.version for place, logger in zip(self._services, trainer.loggers, strict=False) if place}
        known = read_ids(self._folder)
        if not new.items() <= known.items():
            with atomic_write(self._folder / IDS) as file:
                json.dump({**known, **new}, file, indent=2)


@contextmanager
def ended_wandb_run() -> Iterator[None]:
    """Ends the run that W&B opens in the block, which another command of the process would otherwise log into."""
    before, failed = _wandb_run(), True
    try:
        yield
        failed = False
    finally:
        run = _wandb_run()
        if run is not None and run is not before:
            run.finish(exit_code=int(failed))


def _wandb_run() -> Any:
    return getattr(sys.modules.get("wandb"), "run", None)
