"""Mutual information between the data and the latent variables, and the aggregated posterior behind it.

The aggregated posterior of N examples is the mixture q(z) = 1/N sum_n q(z|x_n). It splits the average KL of the ELBO
(Hoffman & Johnson 2016, *ELBO surgery*):

    1/N sum_n KL(q(z|x_n) || p(z))  =  I_q(x; z)  +  KL(q(z) || p(z))
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skipvae.metrics.dataset_metric import DatasetMetric, as_float64
from skipvae.metrics.moments import moments
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian, standard_normal_log_prob

MAX_EXAMPLES = 10_000
"""The size of the seeded subset that is used of a larger split: the number of pairs grows with its square."""


class MutualInformationEstimate(NamedTuple):
    """The results of one pass over the N^2 pairs, in nats; () float64 tensors."""

    mi: Tensor
    """I_q(x; z) = kl - aggregated_kl."""
    stderr: Tensor
    """Standard error of `mi`."""
    kl: Tensor
    """The mean of KL(q(z|x_n) || p(z)) over the N examples."""
    aggregated_kl: Tensor
    """KL(q(z) || p(z))."""
    ceiling: float
    """ln N, the largest possible estimate: near it, read `mi` as a lower bound and use more examples."""
    num_examples: int
    """N."""

    def bounded(self) -> "MutualInformationEstimate":
        """The estimate clamped to 0 <= I(x; z) <= min(KL, ln N), which hold for the true value."""
        mi = self.mi.clamp(min=0).minimum(self.kl.clamp(max=self.ceiling))
        return self._replace(mi=mi, aggregated_kl=self.kl - mi)


def log_aggregated_posterior(
    mean: Tensor, logvar: Tensor, z: Tensor, *, fast: bool = False, block_size: int = 1024
) -> Tensor:
    """log q(z_n) = log 1/N sum_m q(z_n|x_m), the exact mixture over all N components.

    The N^2 log-densities are the product of two thin matrices, computed in square blocks, so that memory is of order
    `block_size` squared. They are relative to log q(z_n|x_n), which is computed separately: the ratio of a sample's own
    component is exactly 1, and the others rarely overflow, since the mean of q(z_n|x_m) / q(z_n|x_n) is 1.

    Args:
        mean: (N, K) posterior means.
        logvar: (N, K) posterior log-variances.
        z: (N, K), one sample z_n ~ q(z|x_n) per example.
        fast: multiply in float32. The error grows with the square of (spread of the means / standard deviation of a
            posterior), in dimensions where posteriors overlap: measured with a spread of 1, at most 1e-4 nats for
            standard deviations of 0.1 and more, 1e-2 for 0.01; not for narrower ones.
        block_size: side of a block.

    Returns:
        (N,) nats, float64.
    """
    mean, logvar, z = as_float64(mean), as_float64(logvar), as_float64(z)
    center = mean.mean(0)  # the terms (a), (b) and (c) cancel least around zero
    mean, z = mean - center, z - center
    precision, posterior = (-logvar).exp(), DiagonalGaussian(mean, logvar)
    # With (z - mean)^2 = z^2 - 2 z mean + mean^2 written out, sums over the K dimensions, precision = 1 / sigma^2:
    #
    #   log q(z_n|x_m) - log q(z_n|x_n)  =  z_n^2 . (-1/2 precision_m)                                     (a)
    #                                     + z_n . (mean_m precision_m)                                     (b)
    #                                     - 1/2 sum (mean_m^2 precision_m + logvar_m + log 2 pi)           (c)
    #                                     - log q(z_n|x_n)                                                 (d)
    #
    # (c) is log q(0|x_m). Each term is a product of a factor of n and a factor of m: a column here, a column there.
    own = posterior.log_prob(z)  # log q(z_n|x_n), (N,)
    at_zero = posterior.log_prob(torch.zeros_like(z))  # log q(0|x_m), (N,)
    one = torch.ones_like(own)
    dtype = torch.float32 if fast else torch.float64
    a, b, c, d = (z.square(), -0.5 * precision), (z, mean * precision), (one, at_zero), (-own, one)
    samples, components = (torch.column_stack(factors).to(dtype) for factors in zip(a, b, c, d, strict=True))

    total = torch.zeros_like(own)  # (N,) sum_m q(z_n|x_m) / q(z_n|x_n)
    with _full_precision(samples.device.type):
        for i, rows in enumerate(torch.split(samples, block_size)):
            for j, columns in enumerate(torch.split(components, block_size)):
                log_ratio = rows @ columns.T  # (a) + (b) + (c) + (d), (block, block)
                if i == j:
                    log_ratio.diagonal().zero_()
                # exp is many times slower where it underflows, and e^-80 adds nothing to 1
                total[i * block_size :][: len(rows)] += log_ratio.clamp_(min=-80).exp_().sum(1)
    return own + total.log() - math.log(len(mean))


@contextmanager
def _full_precision(device_type: str) -> Iterator[None]:
    """A context in which products of float32 are computed in float32, whatever autocast, TF32 or bf16 settings say."""
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def mutual_information(
    mean: Tensor, logvar: Tensor, z: Tensor, *, fast: bool = False, block_size: int = 1024
) -> MutualInformationEstimate:
    """I_q(x; z), by the combination of two unbiased estimates with the smallest variance.

    With one sample z_n of each posterior, q(z) the mixture of all N and p(z) = N(0, I), both

        A_n = KL(q(z|x_n) || p(z)) - log q(z_n) / p(z_n)        (Hoffman & Johnson 2016)
        B_n = log q(z_n|x_n) - log q(z_n)

    have the mean I_q(x; z). A is exact where all posteriors are the prior, B where all posteriors are alike or do not
    overlap. Given x_n, the mean of B_n - A_n = log q(z_n|x_n) / p(z_n) - KL(q(z|x_n) || p(z)) is known to be 0, so it
    is a control variate: the estimate is the mean of A + c (B - A) with c = -cov(A, B - A) / var(B - A), kept within
    0 and 1. That c comes from the same samples biases it by order 1/N, far below the standard error.

    Args:
        mean: (N, K) posterior means.
        logvar: (N, K) posterior log-variances.
        z: (N, K), one sample z_n ~ q(z|x_n) per example, in float32 or better: a z rounded to bfloat16 is no
            sample of a narrow posterior.
        fast: see `log_aggregated_posterior`.
        block_size: see `log_aggregated_posterior`.

    Returns:
        The mutual information with its standard error over the examples (NaN for a single one), and its terms.

    Raises:
        ValueError: if the shapes are not all the same (N, K) with N >= 1, or if the estimate is not finite.

    Example:
        >>> collapsed = torch.zeros(4, 2)
        >>> estimate = mutual_information(collapsed, collapsed, z=torch.randn(4, 2))
        >>> print(f"{estimate.mi.abs():.3f} of at most {estimate.ceiling:.3f} nats")
        0.000 of at most 1.386 nats
    """
    if mean.ndim != 2 or not len(mean) or not mean.shape == logvar.shape == z.shape:
        shapes = ", ".join(str(tuple(t.shape)) for t in (mean, logvar, z))
        raise ValueError(f"mean, logvar and z must have one shape (N, K) with N >= 1, got {shapes}")
    mean, logvar, z = as_float64(mean), as_float64(logvar), as_float64(z)
    kl = DiagonalGaussian(mean, logvar).kl().sum(1)  # (N,)
    log_q = log_aggregated_posterior(mean, logvar, z, fast=fast, block_size=block_size)
    a = kl - (log_q - standard_normal_log_prob(z))  # A_n, (N,)
    b = DiagonalGaussian(mean, logvar).log_prob(z) - log_q  # B_n, (N,)
    information = moments(_with_control_variate(a, b - a))
    if not information.mean.isfinite():
        raise ValueError("no finite estimate: mean, logvar and z must be finite, and z drawn from q(z|x)")
    return MutualInformationEstimate(
        mi=information.mean,
        stderr=information.standard_error,
        kl=kl.mean(),
        aggregated_kl=kl.mean() - information.mean,
        ceiling=math.log(len(mean)),
        num_examples=len(mean),
    )


def _with_control_variate(values: Tensor, control: Tensor) -> Tensor:
    """values + c control, (N,), with c = -cov(values, control) / var(control), clamped to [0, 1]."""
    centered = control - control.mean()
    variance = centered.square().sum()
    c = -(centered @ values) / variance if variance > 0 else torch.zeros_like(variance)
    return values + c.clamp(0, 1) * control


class MutualInformation(DatasetMetric):
    """`mutual_information` of a data set that comes in batches, by a seeded subset if it is large.

    Its state is 3 K float64 values for each of at most `2 * max_examples` examples.

    Args:
        max_examples: largest number of examples to use; None uses all. The choice depends on the values of each example
            alone, neither on the order of the batches nor on the number of processes.
        fast: see `log_aggregated_posterior`.
        block_size: see `log_aggregated_posterior`.
        kwargs: for `torchmetrics.Metric`.

    Raises:
        ValueError: if `max_examples` is below 2.

    Example:
        >>> metric = MutualInformation()
        >>> mean = torch.tensor([[-9.0], [9.0]])  # two posteriors far apart: one bit, ln 2 nats
        >>> metric.update(mean[:1], torch.zeros(1, 1), mean[:1] + 0.5)
        >>> metric.update(mean[1:], torch.zeros(1, 1), mean[1:] - 1.5)
        >>> metric.estimate().ceiling
        0.693...
    """

    higher_is_better = True
    _estimate: MutualInformationEstimate

    def __init__(
        self, max_examples: int | None = MAX_EXAMPLES, fast: bool = False, block_size: int = 1024, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if max_examples is not None and max_examples < 2:
            raise ValueError(f"max_examples is {max_examples}: mutual information takes 2 examples or more")
        self.max_examples = max_examples
        self.fast = fast
        self.block_size = block_size

    def estimate(self) -> MutualInformationEstimate:
        """The estimate with all its terms, over all processes; all of them must call it, as for `compute`."""
        self.compute()  # kept by torchmetrics until the next update
        return self._estimate

    def update(self, mean: Tensor, logvar: Tensor, z: Tensor) -> None:
        """Adds the posteriors of a batch and one sample z of each, all (B, K).

        Raises:
            ValueError: if they have another shape.
        """
        if mean.ndim != 2 or not mean.shape == logvar.shape == z.shape:
            shapes = ", ".join(str(tuple(t.shape)) for t in (mean, logvar, z))
            raise ValueError(f"{type(self).__name__} takes mean, logvar and z of one shape (B, K), got {shapes}")
        self.rows.append(torch.stack([as_float64(mean), as_float64(logvar), as_float64(z)], dim=1))  # (B, 3, K)
        if self.max_examples is not None and sum(map(len, self.rows)) > 2 * self.max_examples:
            self.rows = [_subset(torch.cat(self.rows), self.max_examples)]

    def compute(self) -> Tensor:
        """I_q(x; z), () nats, float64."""
        return self._summarise().mi

    def _summarise(self) -> MutualInformationEstimate:
        rows = self.all_rows()
        rows = _subset(rows, len(rows) if self.max_examples is None else self.max_examples)
        self._estimate = mutual_information(*rows.unbind(1), fast=self.fast, block_size=self.block_size)
        return self._estimate


def _subset(rows: Tensor, size: int) -> Tensor:
    """The `size` rows of (N, 3, K) with the smallest hashes, in the order of the hashes.

    So the subset of a union is the subset of the union of subsets, whatever process or batch a row comes from.
    """
    return rows[_hashes(rows.flatten(1)).argsort(stable=True)[:size]]


def _hashes(values: Tensor) -> Tensor:
    """A hash of the bits of each row of float64 values (N, M): int64 (N,)."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (values.shape[1],), generator=generator).to(values.device)
    words = (values.contiguous().view(torch.int64) * factors).sum(1)  # wraps around
    for _ in range(2):  # float32 values have no low bits: bring the high ones down, multiply them up again
        words = (words ^ (words >> 32).bitwise_and_(0xFFFFFFFF)) * -7046029254386353131  # 2^64 over the golden ratio
    return words


class AggregatedPosteriorKL(MutualInformation):
    """KL(q(z) || p(z)), the `estimate().aggregated_kl` of `MutualInformation`, as a metric of its own.

    To have both, use the `estimate` of one `MutualInformation`.
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        """KL(q(z) || p(z)), () nats, float64."""
        return self._summarise().aggregated_kl
