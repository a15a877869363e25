"""Processes that can be killed: forks of one that has imported everything, so that each begins in no time."""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from tests.command_line import ROOT

CONTEXT = multiprocessing.get_context("forkserver")
SAID = "said.txt"


def warm_up() -> None:
    """Starts the process that all others are forked from."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    CONTEXT.set_forkserver_preload(["tests.faults.warm"])
    forkserver.ensure_running()
    if path is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = path


class Child:
    """`function(*args)` in a process of its own, in a folder; what it prints goes to a file there.

    Args:
        function: of a module, so that the other process finds it.
        args: what can be pickled.
        folder: the working folder; made if need be.
        env: environment variables.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *args: Any,
        folder: Path | str = ".",
        env: Mapping[str, str] | None = None,
        said: str = SAID,
    ) -> None:
        self.folder, self._said = Path(folder).resolve(), said
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = (function, args, str(self.folder), dict(env or {}), said)
        self.process = CONTEXT.Process(target=_begin, args=arguments, daemon=True)  # it does not outlive the tests
        self.process.start()

    def wait(self, seconds: float = 120) -> int:
        """The exit status; negative for a signal. Whoever hangs is killed and an error is raised."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(f"still running after {seconds} s:\n{self.said}")
        return self.process.exitcode

    def done(self, seconds: float = 120) -> str:
        """What it printed, once it has ended well."""
        status = self.wait(seconds)
        assert status == 0, f"exit status {status}:\n{self.said}"
        return self.said

    def kill(self) -> None:
        """SIGKILL: it cannot be caught."""
        self.process.kill()
        self.process.join()

    def wait_for(self, path: str, seconds: float = 60) -> bool:
        """Whether a file of its folder appears while it runs."""
        end = time.monotonic() + seconds
        while not (self.folder / path).exists():
            if self.process.exitcode is not None or time.monotonic() > end:
                return False
            time.sleep(0.001)
        return True

    @property
    def said(self) -> str:
        """What it has printed so far."""
        path = self.folder / self._said
        return path.read_text(errors="replace") if path.exists() else ""


def together(
    function: Callable[..., Any],
    *args: Any,
    count: int,
    folder: Path,
    local: int | None = None,
    each: Sequence[tuple[Any, ...]] | None = None,
) -> list[Child]:
    """As many processes as torchrun would start, with the same environment variables, on nodes of `local` processes."""
    local = local or count
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(count):
        env = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(count),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank % local),
            "LOCAL_WORLD_SIZE": str(local),
            "GROUP_RANK": str(rank // local),
            "TORCHELASTIC_RUN_ID": "faults",
        }
        mine = each[rank] if each is not None else ()
        children.append(Child(function, *args, *mine, folder=folder, env=env, said=f"said_{rank}.txt"))
    return children


def _begin(function: Callable[..., Any], args: tuple[Any, ...], folder: str, env: dict[str, str], said: str) -> None:
    os.chdir(folder)
    os.environ.update(env)
    if "RANK" in env:
        from lightning_utilities.core.rank_zero import rank_zero_only

        # Lightning finds it out when it is imported, and that was before
        rank_zero_only.rank = int(env["RANK"])  # type: ignore[attr-defined]
    sys.path.insert(0, folder)
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = (
        os.fdopen(1, "w", buffering=1, closefd=False),
        os.fdopen(2, "w", buffering=1, closefd=False),
    )
    try:
        function(*args)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
