"""Runs under SLURM: a job that is queued again continues the run that it began."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from skipvae.persistence.run_folder import LOCK, Note, lock_facts


def process_rank() -> int:
    """The rank of this process among those that train together, before there is a trainer that knows."""
    for name in ("NODE_RANK", "GROUP_RANK"):
        if "RANK" not in os.environ and int(os.environ.get(name, 0)):
            return int(os.environ[name])
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "OMPI_COMM_WORLD_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def job_facts(command: Sequence[str]) -> dict[str, Any]:
    """The facts by which the job of a run is found again: job, how often it was queued again, and command."""
    env = os.environ
    if "SLURM_JOB_ID" not in env:
        return {}
    array = env.get("SLURM_ARRAY_JOB_ID")
    return {
        "job": env["SLURM_JOB_ID"] if array is None else f"{array}_{env.get('SLURM_ARRAY_TASK_ID')}",
        "restart": int(env.get("SLURM_RESTART_COUNT", 0)),
        "step": env.get("SLURM_STEP_ID"),
        "command": list(command),
        "requeued": False,
    }


def run_of_job(parent: Path, command: Sequence[str]) -> Path | None:
    """The run folder that this job had begun with this command before it was queued again; None if there is none.

    A job may start several runs, also the same one twice, so it must have been queued again between the two. A process
    that is not the first of its job step uses the folder that the first one may have made already.
    """
    here = job_facts(command)
    if not here:
        return None
    for folder in sorted((path.parent for path in parent.glob(f"*/{LOCK}")), key=lambda path: path.stat().st_ctime):
        was = lock_facts(folder)
        if all(was.get(name) == here[name] for name in ("job", "command")):
            before = was.get("restart", 0) < here["restart"] or was.get("requeued") is True
            together = process_rank() > 0 and all(was.get(name) == here[name] for name in ("restart", "step"))
            if before or together:
                return folder
    return None


@contextmanager
def queued_again(signum: int, note: Note | None) -> Iterator[None]:
    """Turns the signal that announces the end of a job into a Ctrl-C, after which the job is queued again.

    So the step at hand is finished and `last.ckpt` written, in the run folder; Lightning would save at once, in the
    middle of a step.

    Args:
        signum: the signal.
        note: notes it in the lock file; None in processes that do not hold it, which leave the queue to the first.
    """
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.raise_signal(signal.SIGINT)

    try:
        previous: Any = signal.signal(signum, handle)
    except ValueError:  # not the main thread: the caller handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signum, previous)
        if asked and note is not None:
            note(requeued=True)
            _requeue()


def _requeue() -> None:
    job = str(job_facts([])["job"])
    try:
        done = subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0
    except OSError:
        done = False
    print(f"the job {job} is queued again" if done else f"could not queue the job again: scontrol requeue {job}")
