"""Active units: the number of latent dimensions whose posterior mean depends on x."""

from typing import Any

from torch import Tensor

from skipvae.metrics.moments import RunningMoments, moments


def posterior_mean_variances(mean: Tensor) -> Tensor:
    """Var_x(E_q(z|x)[z_k]): the variance of each posterior mean over the data.

    Args:
        mean: (N, K) posterior means of a data set.

    Returns:
        (K,) variances over the N examples (divided by N), float64.
    """
    return moments(mean).variance


def active_units(mean: Tensor, threshold: float = 0.01) -> Tensor:
    """The number of latent dimensions k with Var_x(E_q(z|x)[z_k]) > threshold.

    Args:
        mean: (N, K) posterior means of a data set.
        threshold: variance above which a dimension is active. Burda et al. use 0.01, the authors of Skip-VAE 0.02: say
            which when quoting a number.

    Returns:
        () int64, between 0 and K.

    Source: Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519), section 5.1.2.

    Example:
        >>> import torch
        >>> active_units(torch.tensor([[1.0, 0.0, 0.02], [-1.0, 0.0, -0.02]]))
        tensor(1)
    """
    return (posterior_mean_variances(mean) > threshold).sum()


class ActiveUnits(RunningMoments):
    """`active_units` of a data set that comes in batches, by running moments in float64.

    Args:
        threshold: variance above which a dimension is active.
        kwargs: for `torchmetrics.Metric`.

    Raises:
        ValueError: if `threshold` is negative.

    Example:
        >>> import torch
        >>> metric = ActiveUnits()
        >>> metric.update(torch.tensor([[1.0, 0.0]]))
        >>> metric.update(torch.tensor([[-1.0, 0.0], [0.0, 0.0]]))
        >>> metric.compute()
        tensor(1)
        >>> metric.variances()
        tensor([0.6667, 0.0000], dtype=torch.float64)
    """

    higher_is_better = True

    def __init__(self, threshold: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if threshold < 0:
            raise ValueError(f"threshold is a variance and cannot be negative, got {threshold}")
        self.threshold = threshold

    def variances(self) -> Tensor:
        """(K,) variance of each posterior mean over all processes, float64."""
        return self.moments().variance

    def unbiased_variances(self) -> Tensor:
        """(K,) the same divided by N - 1, as in published code; NaN for a single example."""
        moments = self.moments()
        return moments.variance * moments.num_examples / (moments.num_examples - 1)

    def update(self, mean: Tensor) -> None:
        """Adds a batch of posterior means (B, K).

        Raises:
            ValueError: if `mean` has another number of dimensions.
        """
        if mean.ndim != 2:
            raise ValueError(f"ActiveUnits takes posterior means of shape (B, K), got {tuple(mean.shape)}")
        self._accumulate(mean)

    def compute(self) -> Tensor:
        """Number of active units, () int64."""
        return (self._summarise().variance > self.threshold).sum()
