"""Ctrl-C and SIGTERM: the current step is finished and saved, then the process ends."""

import signal
import time
from types import FrameType
from typing import Any

from pytorch_lightning.utilities.exceptions import SIGTERMException

TERMINATED = 128 + signal.SIGTERM
"""Exit status of a process that was asked to end."""


class StopRequests:
    """Notes the signals that ask a training to end; only the same one again ends it at once.

    Lightning's own handler of SIGTERM ends the process with status 0 and nothing saved.
    """

    TOGETHER = 1.0
    """Seconds within which SIGTERM counts once: a cluster sends it to a study, its runs, or both."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def listen(self, received_sigterm: bool = False) -> None:
        """Handles both signals; anywhere but in the main thread, the caller handles them.

        Args:
            received_sigterm: whether one came before.
        """
        self.release()
        self.signal = None
        for signum in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[signum] = signal.signal(signum, self._note)
            except ValueError:
                return
        if received_sigterm:
            self._note(signal.SIGTERM, None)

    def release(self) -> None:
        """Restores the handlers of both signals."""
        while self._previous:
            signal.signal(*self._previous.popitem())

    def _note(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal == signum:
            if signum == signal.SIGTERM and now - self._since < self.TOGETHER:
                return
            raise stop_error(signum)
        self.signal, self._since = signum, now
        again = "Ctrl-C" if signum == signal.SIGINT else "SIGTERM"
        print(f"\nFinishing the step, then saving ({again} again to stop at once) ...", flush=True)


def stop_error(signum: int) -> BaseException:
    """The exception by which a signal ends the process; SIGTERM with the exit status that a shell would report."""
    return KeyboardInterrupt() if signum == signal.SIGINT else SIGTERMException(TERMINATED)
