"""Metrics of the published code of Dieng et al. (2019) and He et al. (2019)."""

import torch
from torch import Tensor

from skipvae.metrics import ActiveUnits
from skipvae.metrics.mutual_information import log_aggregated_posterior
from skipvae.models.evaluation import LikelihoodEvaluation
from skipvae.objectives.elbo import importance_weighted_log_likelihood
from skipvae.posteriors.diagonal_gaussian import LOG_2PI, DiagonalGaussian, standard_normal_log_prob
from tests.parity.arrays import Arrays, each_file

METRICS = each_file("metrics")


def information_of_he(mean: Tensor, logvar: Tensor, z: Tensor) -> Tensor:
    """Minus the entropy in closed form, less the mean of log q(z)."""
    minus_entropy = -0.5 * (LOG_2PI + 1.0 + logvar).sum(-1).mean()
    return minus_entropy - log_aggregated_posterior(mean, logvar, z).mean()


@METRICS
def test_mutual_information(name: str) -> None:
    arrays = Arrays(name)
    mean, logvar, z = arrays["mean"], arrays["logvar"], arrays["z"]
    kl = DiagonalGaussian(mean, logvar).kl().sum(-1)
    arrays.check("kl_per_example", kl)
    arrays.check("kl", kl.mean())
    aggregated_kl = (log_aggregated_posterior(mean, logvar, z) - standard_normal_log_prob(z)).mean()
    arrays.check("aggregated_kl", aggregated_kl)
    arrays.check("mutual_information", kl.mean() - aggregated_kl)
    arrays.check("he2019.mutual_information", information_of_he(mean, logvar, z))
    parts = zip(mean.split(50), logvar.split(50), z.split(50), strict=True)
    batches = [(len(part[0]), information_of_he(*part)) for part in parts]
    arrays.check(
        "he2019.mutual_information_batches_of_50", torch.stack([n * value for n, value in batches]).sum() / len(mean)
    )


@METRICS
def test_active_units(name: str) -> None:
    arrays = Arrays(name)
    for prefix in ("", "edge."):
        metric = ActiveUnits()
        metric.update(arrays[f"{prefix}mean"])
        variances = metric.unbiased_variances()
        arrays.check(f"{prefix}mean_variance_n_minus_1", variances)
        arrays.check(f"{prefix}active_units_above_0.02", (variances > 0.02).sum())
        arrays.check(f"{prefix}he2019.active_units_at_least_0.01", (variances >= 0.01).sum())


class GivenWeights(torch.nn.Module):
    """A decoder whose importance weights are given, one after the other."""

    def __init__(self, log_weights: Tensor, posterior: DiagonalGaussian) -> None:
        super().__init__()
        self.log_weights, self.posterior, self.used = log_weights, posterior, 0

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        samples = len(z) // len(self.log_weights)
        log_weights = self.log_weights[:, self.used : self.used + samples].T.flatten()  # sample-major
        self.used += samples
        return log_weights + self.posterior.repeat(samples).log_prob(z) - standard_normal_log_prob(z)


@METRICS
def test_importance_weighted_likelihood(name: str) -> None:
    arrays = Arrays(name)
    log_weights = arrays["importance.log_weights"]
    rows, num_samples = log_weights.shape
    torch.manual_seed(0)
    posterior = DiagonalGaussian(torch.randn(rows, 2).double(), torch.randn(rows, 2).double())
    for chunk_size in (1024, 7 * rows):
        decoder = GivenWeights(log_weights, posterior)
        bound = importance_weighted_log_likelihood(decoder, torch.zeros(rows, 1), posterior, num_samples, chunk_size)  # type: ignore[arg-type]
        arrays.check("importance.negative_log_likelihood", -bound)
        arrays.check("importance.mean_negative_log_likelihood", -bound.mean())


@METRICS
def test_perplexity(name: str) -> None:
    arrays = Arrays(name)
    log_prob, kl = arrays["perplexity.token_log_prob"].sum(-1), arrays["perplexity.kl"]
    for key, bound in (("reconstruction", log_prob), ("bound", log_prob - kl)):
        evaluation = LikelihoodEvaluation()
        for rows in torch.arange(len(kl)).split(5):
            evaluation.update_likelihood(bound[rows], None, arrays["perplexity.num_predicted"][rows])
        arrays.check(f"perplexity.{key}", torch.tensor(evaluation.compute()["ppl"], dtype=torch.float64))
