"""Settings of a process that trains on the CPU, by which the system takes less time of each step."""

import ctypes
import os
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # the C library's names for its settings, malloc.h
_LARGEST = 1 << 30  # bytes; a larger block still goes back to the system as soon as it is freed


def tune_process() -> None:
    """Make steps on the CPU cheaper, from now until the process ends; what is computed stays the same."""
    keep_freed_memory()
    if not torch.cuda.is_available():
        # Lightning sets this for programs that fork before they use a GPU. Each step of an optimiser asks for one, and
        # where there is none, NVML's answer takes a hundred times as long as CUDA's own.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed, up to 1 GiB in a block, instead of returning it to the system.

    A training step frees its gradients and activations and allocates the same again. By default glibc hands such large
    blocks back, so that every step gets new pages from the system, which have to be cleared and mapped one by one; see
    `benchmarks/README.md`. The peak of the process's memory grows a little where batches differ in length. Allocators
    of the user's choice are left alone: settings of malloc in the environment (`MALLOC_TRIM_THRESHOLD_` and the like,
    `GLIBC_TUNABLES`) hold, and a preloaded jemalloc or tcmalloc ignores this.

    Returns:
        Whether the C library agreed. Only glibc, on Linux, knows how.
    """
    chosen = any(name.startswith("MALLOC_") and name.endswith("_") for name in os.environ)
    if sys.platform != "linux" or chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    # Older versions refuse so high a threshold, but not to map no block at all.
    kept = mallopt(_M_MMAP_THRESHOLD, _LARGEST) == 1 or mallopt(_M_MMAP_MAX, 0) == 1
    return bool(kept and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) == 1)
