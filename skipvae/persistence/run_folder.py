"""The folder of a run while it is at work: its path, its creation, and the lock of the process that trains in it."""

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

try:
    import fcntl
except ModuleNotFoundError:  # Windows: nothing keeps two processes from training in one folder
    fcntl = None  # type: ignore[assignment]

LOCK = "run.lock"
"""File in a run folder that is locked while a process trains there; it names that process, or the last one."""

Note = Callable[..., None]
"""Adds keyword arguments to the lock file."""


class RunFolder(Callback):
    """Holds the path of the run folder, independently of loggers; the command line adds one to every run.

    Checkpoints of callbacks that were given no folder of their own go to `checkpoints` in it.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Sets the folder of checkpoint callbacks, which come last, and would else use that of the first logger."""
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(self.path / "checkpoints")

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Renames the folder in the state of checkpoint callbacks, which forget the best if the path has changed."""
        states, here = checkpoint.get("callbacks", {}), str(self.path / "checkpoints")
        for callback in trainer.checkpoint_callbacks:
            state = states.get(callback.state_key)
            before = state.get("dirpath") if isinstance(state, dict) else None
            if isinstance(before, str) and getattr(callback, "dirpath", None) == here:
                states[callback.state_key] = _moved(state, before, here)


def _moved(value: Any, before: str, here: str) -> Any:
    if isinstance(value, dict):
        return {_moved(key, before, here): _moved(item, before, here) for key, item in value.items()}
    return here + value.removeprefix(before) if isinstance(value, str) and value.startswith(before) else value


def run_folder(trainer: Trainer) -> Path | None:
    """The folder of a run: that of its `RunFolder`, else that of its first logger, if it has one.

    A collective call: all processes have to make it.
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    given = next((callback.path for callback in callbacks if isinstance(callback, RunFolder)), None)
    if given is None and not trainer.loggers:
        return None
    folder = trainer.strategy.broadcast(given) if given is not None else trainer.log_dir
    return None if folder is None else Path(folder)


def check_name(name: str, root: str | Path) -> None:
    """Raises a ValueError unless a name is that of one folder, in `root` itself."""
    if {"/", os.sep} & {*name} or name in ("", ".", "..") or name[0] == "~" or os.path.expandvars(name) != name:
        raise ValueError(f"the run {name!r} would lie outside of {root}: give it a name without slashes, .., ~ and $")


def next_folder(root: str | Path, name: str) -> Path:
    """The folder of the next run of a name: `root/name/version_N` with the first N after all that are taken."""
    taken = [re.fullmatch(r"version_(\d+)", path.name) for path in Path(root, name).glob("version_*")]
    return Path(root, name, f"version_{max((int(match[1]) for match in taken if match), default=-1) + 1}")


@contextmanager
def new_folder(root: str | Path, name: str, version: str | None = None) -> Iterator[Path]:
    """Makes the folder of a new run; removes it again if it is empty when the block ends.

    Args:
        root: folder of all runs.
        name: folder of the runs that belong together.
        version: name of the run's own folder; `version_N` when not given, which two runs never share.
    """
    folder = Path(root, name, version) if version is not None else next_folder(root, name)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=version is not None)
            break
        except FileExistsError:  # another run took it
            if version is not None:
                raise
            folder = made[0] = next_folder(root, name)
    try:
        yield folder
    finally:
        if made and {path.name for path in folder.iterdir()} <= {LOCK}:
            (folder / LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                for path in made:
                    path.rmdir()


@contextmanager
def locked(folder: Path, **facts: Any) -> Iterator[Note]:
    """Keeps other processes from training in a run folder.

    The lock belongs to the open file: it goes when the process ends, however it ends.

    Args:
        folder: the run folder.
        **facts: further content of the lock file, beside process and machine.

    Raises:
        BlockingIOError: if another process trains there.
    """
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                who = lock_facts(folder)
                by = f"process {who['process']} on {who['host']}" if {"process", "host"} <= who.keys() else "a process"
                raise BlockingIOError(f"{by} is training in {folder}: wait until it ends, or start a new run") from None
        content = {"process": os.getpid(), "host": socket.gethostname(), **facts}

        def note(**more: Any) -> None:
            content.update(more)
            file.truncate(0)
            file.write(json.dumps(content))
            file.flush()

        note()
        yield note


def lock_facts(folder: Path) -> dict[str, Any]:
    """The facts in the lock file of a run folder; nothing if there is none, or it was cut short by a kill."""
    try:
        facts = json.loads((folder / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
