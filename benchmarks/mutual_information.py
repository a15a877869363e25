"""The mutual information metric against a loop over samples, side by side in one run.

The aggregated posterior of N examples is a mixture of N Gaussians, so KL(q(z) || p(z)) takes N^2 log-densities of K
dimensions. The published way is a loop over the samples, each against all components, in float64 here. It comes twice:
"loop" as one would write it, with torch.distributions, and "loop, hoisted" with everything that does not depend on the
sample moved out of it, the fastest loop that we know of.

    python benchmarks/mutual_information.py                       # N = 10,000 and K = 32, all cores
    python benchmarks/mutual_information.py --num_threads 1
    python benchmarks/mutual_information.py --num_examples 50000 --device cuda

A loop runs over the first `--loop_rows` samples alone, always against all N components, and its time is scaled up to N:
its iterations are alike. Methods alternate; a ratio is the median over the rounds with the smallest and the largest.
Errors are those of log q(z_n) against the hoisted loop on its samples. Processor time is given beside wall time because
it suffers less from other programs on the machine.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from skipvae.metrics import log_aggregated_posterior, mutual_information

Posteriors = tuple[Tensor, Tensor, Tensor]


def loop(mean: Tensor, logvar: Tensor, z: Tensor) -> Tensor:
    """log q(z_n) of each row of z, one at a time."""
    log_q = [Normal(mean, (0.5 * logvar).exp()).log_prob(z_n).sum(1).logsumexp(0) for z_n in z]
    return torch.stack(log_q) - math.log(len(mean))


def hoisted_loop(mean: Tensor, logvar: Tensor, z: Tensor) -> Tensor:
    """The same, with all that does not depend on z computed once."""
    precision = (-logvar).exp()
    constant = -0.5 * (logvar + math.log(2 * math.pi)).sum(1)
    log_q = [(constant - 0.5 * ((z_n - mean).square() * precision).sum(1)).logsumexp(0) for z_n in z]
    return torch.stack(log_q) - math.log(len(mean))


def posteriors(num_examples: int, latent_dim: int, std: float, device: str) -> Posteriors:
    """q(z|x) whose widths are `std` within a factor of about e, means of variance 1 - std^2, and a sample of each."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(3, num_examples, latent_dim, generator=generator, dtype=torch.double).to(device)
    mean, logvar = normal[0] * math.sqrt(1 - std**2), 2 * math.log(std) + normal[1]
    return mean, logvar, mean + (0.5 * logvar).exp() * normal[2]


def seconds(work: Callable[[], object], device: str) -> tuple[float, float]:
    """Wall and processor time."""
    if device == "cuda":
        torch.cuda.synchronize()
    wall, processor = time.perf_counter(), time.process_time()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def show_ratio(name: str, slow: list[tuple[float, float]], fast: list[tuple[float, float]]) -> None:
    """One line: wall and processor time ratios over the rounds."""
    line = f"  {name:34s}"
    for clock in (0, 1):
        ratios = [s[clock] / f[clock] for s, f in zip(slow, fast, strict=True)]
        line += f"{statistics.median(ratios):8.1f} [{min(ratios):.1f}..{max(ratios):.1f}]".ljust(24)
    print(line)


def compare_speed(args: argparse.Namespace) -> None:
    """All methods on one set of posteriors."""
    data = mean, logvar, z = posteriors(args.num_examples, args.latent_dim, args.posterior_std, args.device)
    rows = min(args.loop_rows, len(z))
    scale = len(z) / rows
    methods: dict[str, tuple[float, Callable[[], object]]] = {
        "loop": (scale, lambda: loop(mean, logvar, z[:rows])),
        "loop, hoisted": (scale, lambda: hoisted_loop(mean, logvar, z[:rows])),
        "exact (default)": (1, lambda: mutual_information(*data, block_size=args.block_size)),
        "fast": (1, lambda: mutual_information(*data, fast=True, block_size=args.block_size)),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for work in methods.values():
        work[1]()
    for _ in range(args.rounds):
        for name, (factor, work) in methods.items():
            wall, processor = seconds(work, args.device)
            times[name].append((factor * wall, factor * processor))

    print(f"N = {len(z):,}, K = {args.latent_dim}, posterior std about {args.posterior_std:g}, {args.rounds} rounds")
    print(f"loops over {rows} samples, scaled by {scale:g}")
    print(f"  {'seconds, median':34s}{'wall':>8s}{'processor':>24s}")
    for name, spent in times.items():
        wall, processor = (statistics.median(t[clock] for t in spent) for clock in (0, 1))
        print(f"  {name:34s}{wall:8.2f}{processor:24.2f}")
    print(f"  {'ratio, median [min..max]':34s}{'wall':>8s}{'processor':>24s}")
    for slow in ("loop", "loop, hoisted"):
        for quick in ("exact (default)", "fast"):
            show_ratio(f"{slow} / {quick}", times[slow], times[quick])


def compare_errors(args: argparse.Namespace) -> None:
    """Errors of log q(z_n), nats, for wide and narrow posteriors."""
    print("error of log q(z_n), nats: largest (and of their mean, which is the error of the mutual information)")
    print(f"  {'':24s}{'exact (default)':24s}{'fast':24s}")
    for latent_dim in sorted({1, args.latent_dim}):
        for std in (0.9, 0.5, 0.1, 0.01, 0.001):
            mean, logvar, z = posteriors(args.num_examples, latent_dim, std, args.device)
            reference = hoisted_loop(mean, logvar, z[: args.loop_rows])
            line = f"  K = {latent_dim:<3d} std = {std:<8g}"
            for fast in (False, True):
                ours = log_aggregated_posterior(mean, logvar, z, fast=fast, block_size=args.block_size)
                error = ours[: len(reference)] - reference
                line += f"  {error.abs().max():.0e} ({error.mean():+.0e})".ljust(24)
            print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_examples", type=int, default=10_000)
    parser.add_argument("--latent_dim", type=int, default=32)
    parser.add_argument("--posterior_std", type=float, default=0.5)
    parser.add_argument("--block_size", type=int, default=1024)
    parser.add_argument("--loop_rows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--num_threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    torch.set_num_threads(args.num_threads)
    print(f"torch {torch.__version__}, {args.device}, {args.num_threads} threads")
    compare_speed(args)
    compare_errors(args)


if __name__ == "__main__":
    main()
