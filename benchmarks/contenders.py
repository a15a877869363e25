"""Contenders that take turns, each in a process of its own."""

import contextlib
import io
import logging
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from skipvae.training.cpu_tuning import keep_freed_memory

_made: Any = None


class Contender:
    """The object that `make(*args)` returns, in a process of its own, so that contenders do not affect each other.

    The process ends with the one that made it, also if that is killed.

    Args:
        make: function of a module.
        *args: its arguments.
        threads: of PyTorch.
        keep_memory: whether the process keeps freed memory, as ours do wherever a Trainer trains them.
    """

    def __init__(self, make: Callable[..., Any], *args: Any, threads: int, keep_memory: bool) -> None:
        self._process = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self._process.submit(_make, make, args, threads, keep_memory).result()

    def ask(self, method: str, *args: Any) -> Any:
        """The result of that method of the contender."""
        return self._process.submit(_ask, method, args).result()

    def end(self) -> None:
        """Frees its memory."""
        self._process.shutdown()


def _make(make: Callable[..., Any], args: tuple[Any, ...], threads: int, keep_memory: bool) -> None:
    global _made
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(threads)
    if not torch.cuda.is_available():  # set by Lightning's import, which most of them could do without
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    if keep_memory:
        keep_freed_memory()
    _made = make(*args)


def _end_with_parent() -> None:
    """Waits for the parent's end; a worker of a pool would wait for its next task for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _ask(method: str, args: tuple[Any, ...]) -> Any:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return getattr(_made, method)(*args)
