"""Contenders of benchmarks, each in a process of its own."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

from tests.command_line import ROOT

KILLED = """
import os, signal
from contenders import Contender
print(Contender(os.getpid, threads=1, keep_memory=False).ask("__int__"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_contender_ends_with_a_benchmark_that_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])}
    benchmark = subprocess.Popen(
        [sys.executable, "-c", KILLED], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        printed, _ = benchmark.communicate(timeout=120)  # the contender has the same stdout: it must have ended, too
        assert benchmark.returncode == -signal.SIGKILL
        assert int(printed) != benchmark.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(benchmark.pid, signal.SIGKILL)
