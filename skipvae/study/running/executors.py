"""Executors of runs: several processes on this machine, or a cluster through submitit."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from skipvae.study.plan import Run
from skipvae.study.status import RunStatus, log_of


def run_processes(runs: Sequence[Run], command: Sequence[str], jobs: int) -> None:
    """Executes runs in `jobs` processes at a time, each on its own GPU, or on its own part of the CPUs without GPUs.

    Args:
        runs: the runs to execute.
        command: executes a single run, whose name is appended as its last argument.
        jobs: number of processes at a time.

    A Ctrl-C in the terminal reaches the processes too: they save and end, and so does this one. SIGTERM, and any other
    exception, is passed on to them. A second signal kills them.
    """
    devices = list(range(jobs))
    waiting, running = list(runs), dict[int, tuple[Run, subprocess.Popen[bytes]]]()
    try:
        while waiting or running:
            while waiting and devices:
                run, device = waiting.pop(0), devices.pop(0)
                running[device] = run, _start([*command, run.name], environment_of(device, jobs), run.folder)
            time.sleep(0.1)
            for device, (run, process) in list(running.items()):
                if process.poll() is not None:
                    del running[device]
                    devices.append(device)
                    mark_failed(run, process.returncode)
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
    """The environment variables of the index-th of the processes that run at the same time."""
    settings = dict(os.environ)
    given = settings.get("CUDA_VISIBLE_DEVICES")
    gpus = given.split(",") if given else [str(gpu) for gpu in range(torch.cuda.device_count())]
    if torch.cuda.is_available():
        settings["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
    settings.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    return settings


def mark_failed(run: Run, exit_status: int) -> None:
    """Marks a run as failed whose process ended before it could note the reason."""
    status = RunStatus.read(run.folder)
    if status.state not in ("finished", "failed") and exit_status != 0:
        status.state, status.error = "failed", f"its process ended with exit status {exit_status}"
        status.write(run.folder)


def run_cluster(
    runs: Sequence[Run], command: Sequence[str], kind: str, options: dict[str, Any], at_once: int, folder: Path
) -> None:
    """Submits runs to a cluster, and waits for them; a job that is preempted or runs out of time is queued again.

    Args:
        runs: the runs to execute.
        command: executes a single run, whose name is appended as its last argument.
        kind: submitit's executor: slurm, local or debug.
        options: parameters of the executor.
        at_once: the maximum number of jobs at the same time, if the cluster can limit it; 1 for no limit.
        folder: folder of submitit's own files.

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
        jobs = [executor.submit(ClusterJob([*command, run.name])) for run in runs]
    try:
        for run, job in zip(runs, jobs, strict=True):
            failure = job.exception()  # waits
            mark_failed(run, 1 if failure is not None else job.result())
    except (KeyboardInterrupt, SystemExit):
        for job in jobs:
            job.cancel(check=False)
        raise


class ClusterJob:
    """A job for submitit: the same command as on this machine, queued again if the cluster stops it."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)

    def __call__(self) -> int:
        return subprocess.run(self.command, check=False).returncode

    def checkpoint(self) -> Any:
        """Called by submitit before the cluster ends the job."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
