"""States merge exactly: two processes give what one gives, however the examples are spread over them."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from skipvae.metrics import ActiveUnits, AggregatedPosteriorKL, DatasetMean, KLPerDimension, MutualInformation

N, K = 50, 4
SPREADS = {
    "uneven batches": ([[7, 1, 12], [30]]),
    "one process without any": ([[], [20, 30]]),
    "the first has all": ([[49, 1], []]),
    "empty batches": ([[0], [20, 0, 30]]),
}


def posteriors() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    mean, logvar, epsilon = torch.randn(3, N, K, generator=generator)
    return mean * torch.tensor([0.0, 0.05, 1.0, 2.0]), logvar, mean + (0.5 * logvar).exp() * epsilon


KINDS = (ActiveUnits, MutualInformation, AggregatedPosteriorKL, DatasetMean, KLPerDimension)


def update_all(batches: Any, metrics: Any = None) -> Any:
    metrics = metrics or {kind.__name__: kind() for kind in KINDS}
    for mean, logvar, z in batches:
        metrics["ActiveUnits"].update(mean)
        metrics["MutualInformation"].update(mean, logvar, z)
        metrics["AggregatedPosteriorKL"].update(mean, logvar, z)
        metrics["DatasetMean"].update(logvar.double().sum(1))
        metrics["KLPerDimension"].update(mean.square())
    return metrics


def results(metrics: Any) -> Any:
    return {name: metric.compute() for name, metric in metrics.items()} | {
        "variances": metrics["ActiveUnits"].variances(),
        "standard_error": metrics["DatasetMean"].standard_error(),
        "estimate": metrics["MutualInformation"].estimate(),
    }


def split(sizes: Any, start: Any) -> Any:
    tensors = [t[start : start + sum(sizes)] for t in posteriors()]
    return list(zip(*(t.split(sizes) for t in tensors), strict=True)) if sizes else []


def process(rank: Any, folder: Path) -> None:
    store, timeout = f"file://{folder}/store", timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=timeout)
    merged = {}
    for name, spread in SPREADS.items():
        start = sum(spread[0]) if rank else 0
        metrics = update_all(split(spread[rank], start))
        merged[name] = results(metrics)
        for metric in metrics.values():  # what one process has seen is its own again
            assert sum(len(row) for row in metric.rows) == (
                sum(spread[rank]) if isinstance(metric, MutualInformation) else bool(sum(spread[rank]))
            )
    lonely = ActiveUnits()
    with pytest.raises(ValueError, match="no examples"):
        lonely.compute()
    torch.save(merged, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    method = "fork" if sys.platform == "linux" else "spawn"  # a spawned process imports everything anew
    mp.start_processes(process, args=(tmp_path,), nprocs=2, start_method=method)  # type: ignore[attr-defined]
    one = results(update_all(split([N], 0)))
    for rank in range(2):
        both = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        for name in SPREADS:
            torch.testing.assert_close(both[name], one, atol=1e-12, rtol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_nothing_waits_before_compute() -> None:
    batches = [tuple(t.cuda() for t in batch) for batch in split([20, 30], 0)]
    metrics = {kind.__name__: kind().cuda() for kind in KINDS}
    torch.cuda.set_sync_debug_mode("error")
    try:
        update_all(batches, metrics)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(row.is_cuda for metric in metrics.values() for row in metric.rows)
    torch.testing.assert_close(
        results(metrics), results(update_all(split([N], 0))), atol=1e-10, rtol=1e-10, check_device=False
    )
