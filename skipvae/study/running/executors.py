"""Where points run: in this process, in several processes on this machine, or on a cluster through submitit."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from skipvae.study.plan import Point
from skipvae.study.status import Record, log_of


def run_processes(points: Sequence[Point], command: Sequence[str], jobs: int) -> None:
    """Runs points in `jobs` processes at a time, each on its own GPU, or its own share of the CPUs where there is none.

    Args:
        points: what to run.
        command: runs a single point, whose name is to be its last argument.
        jobs: at a time.

    A Ctrl-C in the terminal reaches the processes too: they save and end, and so does this. SIGTERM, and whatever else
    ends this, is passed on to them. The same again ends all at once.
    """
    devices = list(range(jobs))
    waiting, running = list(points), dict[int, tuple[Point, subprocess.Popen[bytes]]]()
    try:
        while waiting or running:
            while waiting and devices:
                point, device = waiting.pop(0), devices.pop(0)
                running[device] = point, _start([*command, point.name], environment_of(device, jobs), point.folder)
            time.sleep(0.1)
            for device, (point, process) in list(running.items()):
                if process.poll() is not None:
                    del running[device]
                    devices.append(device)
                    note_death(point, process.returncode)
    except BaseException as stop:
        _end([process for _, process in running.values()], stop)
        raise


def _end(processes: "Sequence[subprocess.Popen[bytes]]", stop: BaseException) -> None:
    try:
        for process in processes:
            if not isinstance(stop, KeyboardInterrupt):
                process.terminate()
        for process in processes:
            process.wait()
    except BaseException:
        for process in processes:
            process.kill()
        raise


def _start(command: list[str], environment: dict[str, str], folder: Path) -> "subprocess.Popen[bytes]":
    folder.mkdir(parents=True, exist_ok=True)
    with log_of(folder).open("a") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )


def environment_of(index: int, jobs: int) -> dict[str, str]:
    """The environment of the index-th of the processes that run at the same time."""
    settings = dict(os.environ)
    given = settings.get("CUDA_VISIBLE_DEVICES")
    gpus = given.split(",") if given else [str(gpu) for gpu in range(torch.cuda.device_count())]
    if torch.cuda.is_available():
        settings["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
    settings.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    return settings


def note_death(point: Point, status: int) -> None:
    """Records a process that ended before it could say why."""
    record = Record.read(point.folder)
    if record.state not in ("finished", "failed") and status != 0:
        record.state, record.error = "failed", f"its process ended with exit status {status}"
        record.write(point.folder)


def run_cluster(
    points: Sequence[Point], command: Sequence[str], kind: str, options: dict[str, Any], at_once: int, folder: Path
) -> None:
    """Hands points to submitit, and waits for them; a job that is preempted or runs out of time is queued again.

    Args:
        points: what to run.
        command: runs a single point, whose name is to be its last argument.
        kind: submitit's executor: slurm, local or debug.
        options: parameters of the executor.
        at_once: most jobs at the same time, where the cluster can limit them; 1 for no limit.
        folder: where submitit keeps its own files.

    Raises:
        ModuleNotFoundError: if submitit is not installed.
    """
    try:
        import submitit  # an optional extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--cluster needs submitit: pip install 'skipvae[cluster]'") from error
    executor = submitit.AutoExecutor(folder=folder, cluster=kind)
    if kind == "slurm" and at_once > 1:
        options = {"slurm_array_parallelism": at_once, **options}
    executor.update_parameters(name=folder.parent.name, **options)
    with executor.batch():
        jobs = [executor.submit(ClusterJob([*command, point.name])) for point in points]
    try:
        for point, job in zip(points, jobs, strict=True):
            failure = job.exception()  # waits
            note_death(point, 1 if failure is not None else job.result())
    except (KeyboardInterrupt, SystemExit):
        for job in jobs:
            job.cancel(check=False)
        raise


class ClusterJob:
    """What a job of submitit does: the same command as on this machine, begun again when the cluster stops it."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)

    def __call__(self) -> int:
        return subprocess.run(self.command, check=False).returncode

    def checkpoint(self) -> Any:
        """Called by submitit before the cluster ends the job."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
