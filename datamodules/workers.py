"""Functions of text applied in parallel, by processes that start fast: they import neither torch nor this package."""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self, TypeVar

TagT = TypeVar("TagT")
ResultT = TypeVar("ResultT")

# modules are found within the package, but its own imports, which take seconds, are not made
START = """
import sys, types
package = types.ModuleType("datamodules")
package.__path__ = [sys.argv[1]]
sys.modules["datamodules"] = package
from datamodules.workers import serve
serve()
"""


def num_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Processes that apply functions; a context manager, at whose end they are gone.

    Args:
        number: Number of processes; 0 to apply the functions in this one.

    Example:
        >>> with Workers(0) as workers:
        ...     list(workers.map(len, [("a", (["x", "y"],)), ("b", ([],))]))
        [('a', 2), ('b', 0)]
    """

    def __init__(self, number: int) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._threads = ThreadPoolExecutor(number) if number else None
        command = [sys.executable, "-P", "-c", START, str(Path(__file__).parent)]
        # the same hashes of text in all of them, and one thread each
        environment = os.environ | {"PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        for _ in range(number):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
            self._processes.append(process)
            self._idle.put(process)

    def map(
        self, function: Callable[..., ResultT], jobs: Iterable[tuple[TagT, tuple[Any, ...]]]
    ) -> Iterator[tuple[TagT, ResultT]]:
        """The tag of each job with function(*arguments) of it, in order; a few jobs are read ahead.

        Args:
            function: A function of a module that does not import torch.
            jobs: (tag, arguments) of each job.

        Raises:
            ChildProcessError: If a process was killed.
        """
        if self._threads is None:
            yield from ((tag, function(*arguments)) for tag, arguments in jobs)
            return
        pending: deque[tuple[TagT, Future[ResultT]]] = deque()
        for tag, arguments in jobs:
            pending.append((tag, self._threads.submit(self._ask, function, arguments)))
            if len(pending) > 2 * len(self._processes):
                first, result = pending.popleft()
                yield first, result.result()
        for first, result in pending:
            yield first, result.result()

    def _ask(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        process = self._idle.get()
        assert process.stdin
        assert process.stdout
        try:
            pickle.dump((function, arguments), process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            result, error = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise ChildProcessError(
                f"a process that reads text ended by itself (exit status {process.wait()}), as it does where memory is "
                "short: start again with fewer cores, as by taskset"
            ) from error
        finally:
            self._idle.put(process)
        if error is not None:
            raise error
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what was written last may not have been read
                    if pipe:
                        pipe.close()


def serve() -> None:
    """Apply functions until there are no more: the process on the other side has ended, however it did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too, and is answered on the other side
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what anything prints is no answer
    with suppress(EOFError, BrokenPipeError):
        while True:
            function, arguments = pickle.load(sys.stdin.buffer)
            answer: tuple[Any, Exception | None]
            try:
                answer = function(*arguments), None
            except Exception as error:
                answer = None, error
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
