"""Means over a data set with their standard errors, by running moments."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from skipvae.metrics.dataset_metric import DatasetMetric, as_float64


class Moments(NamedTuple):
    """The number of examples, (), and their mean and population variance, each of the shape of one example; float64."""

    num_examples: Tensor
    mean: Tensor
    variance: Tensor

    @property
    def standard_error(self) -> Tensor:
        """The standard error of the mean, sqrt(variance / (n - 1)); NaN for a single example."""
        return (self.variance / (self.num_examples - 1)).sqrt()


def moments(x: Tensor) -> Moments:
    """The mean and variance over the first dimension.

    Args:
        x: (N, ...) values, one row per example.

    Returns:
        Moments of the shape (...), float64.

    Example:
        >>> moments(torch.tensor([1.0, 2.0, 3.0])).standard_error
        tensor(0.5774, dtype=torch.float64)
    """
    return _as_moments(_row(x))


def _row(x: Tensor) -> Tensor:
    """(B, ...) -> (1, 3, ...): count, mean, and the sum of squared deviations from that mean."""
    x = as_float64(x)
    mean = x.mean(0)
    return torch.stack([torch.full_like(mean, len(x)), mean, (x - mean).square().sum(0)])[None]


def _merge(rows: Tensor) -> Tensor:
    """(P, 3, ...) -> (1, 3, ...): the rows of P parts become the row of their union.

        n = sum_p n_p,   mean = sum_p n_p mean_p / n,   squares = sum_p (squares_p + n_p (mean_p - mean)^2)

    Deviations are from means, not from zero: nothing cancels, however far from zero the values are.

    Source: Chan, Golub & LeVeque 1983, for any number of parts.
    """
    count, mean, squares = rows.unbind(1)  # (P, ...) each
    total = count.sum(0)
    center = (count * mean).sum(0) / total
    return torch.stack([total, center, (squares + count * (mean - center).square()).sum(0)])[None]


def _as_moments(row: Tensor) -> Moments:
    count, mean, squares = row[0].unbind(0)
    return Moments(count.amax(), mean, squares / count)


class RunningMoments(DatasetMetric):
    """Moments of a data set that comes in batches of any size, with one row of state."""

    _moments: Moments

    def moments(self) -> Moments:
        """Number, mean and variance over all processes; all of them must call it, as for `compute`."""
        self.compute()  # kept by torchmetrics until the next update
        return self._moments

    def _accumulate(self, x: Tensor) -> None:
        if len(x):
            self.rows = [_merge(torch.cat([*self.rows, _row(x)]))]

    def _summarise(self) -> Moments:
        self._moments = _as_moments(_merge(self.all_rows()))
        return self._moments

    def on_merge(self) -> None:
        """Makes one row of two states."""
        if self.rows:
            self.rows = [_merge(dim_zero_cat(self.rows))]


class DatasetMean(RunningMoments):
    """Mean over all examples of a data set, whatever the sizes of its batches; sums are in float64.

    Args:
        empty_ok: whether the moments of no examples are NaN instead of an error: a process may have none, and only
            merging tells whether another has.
        kwargs: for `torchmetrics.Metric`.

    Example:
        >>> kl = DatasetMean()
        >>> kl.update(torch.tensor([1.0, 2.0]))
        >>> kl.update(torch.tensor([6.0]))
        >>> print(f"{kl.compute():.2f} +- {kl.standard_error():.2f} nats")
        3.00 +- 1.53 nats
    """

    def __init__(self, empty_ok: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.empty_ok = empty_ok

    def _summarise(self) -> Moments:
        if self.empty_ok and not any(len(rows) for rows in self.rows):
            nan = torch.tensor(torch.nan, dtype=torch.float64)
            self._moments = Moments(torch.zeros_like(nan), nan, nan)
            return self._moments
        return super()._summarise()

    def standard_error(self) -> Tensor:
        """The standard error of the mean, of the shape of one example; NaN for a single example."""
        return self.moments().standard_error

    def update(self, values: Tensor) -> None:
        """Adds a batch of values (B, ...), one row per example.

        Raises:
            ValueError: if `values` is a scalar: a mean of batch means would weigh short batches like full ones.
        """
        if not values.ndim:
            raise ValueError(f"{type(self).__name__} takes one value per example, shape (B, ...), not their mean")
        self._accumulate(values)

    def compute(self) -> Tensor:
        """The mean, float64, of the shape of one example; torchmetrics makes a scalar of the shape (1,)."""
        return self._summarise().mean


class KLPerDimension(DatasetMean):
    """The mean over a data set of KL(q(z_k|x) || p(z_k)) for each latent dimension k, nats, (K,).

    Example:
        >>> metric = KLPerDimension()
        >>> metric.update(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
        >>> metric.update(torch.tensor([[0.0, 5.0]]))
        >>> metric.compute()
        tensor([0., 3.], dtype=torch.float64)
    """

    def update(self, kl: Tensor) -> None:
        """Adds the KL of a batch (B, K).

        Raises:
            ValueError: if `kl` has another number of dimensions.
        """
        if kl.ndim != 2:
            raise ValueError(f"KLPerDimension takes the KL of each dimension, (B, K), got {tuple(kl.shape)}")
        self._accumulate(kl)
