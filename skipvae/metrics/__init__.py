"""Metrics of how much the latent variable is used, each a pure function and a `torchmetrics.Metric`."""

from skipvae.metrics.active_units import ActiveUnits, active_units, posterior_mean_variances
from skipvae.metrics.moments import DatasetMean, KLPerDimension, Moments, moments
from skipvae.metrics.mutual_information import (
    AggregatedPosteriorKL,
    MutualInformation,
    MutualInformationEstimate,
    log_aggregated_posterior,
    mutual_information,
)
from skipvae.metrics.representation import Labelled, Representation, representation_scores

__all__ = [
    "ActiveUnits",
    "AggregatedPosteriorKL",
    "DatasetMean",
    "KLPerDimension",
    "Labelled",
    "Moments",
    "MutualInformation",
    "MutualInformationEstimate",
    "Representation",
    "active_units",
    "log_aggregated_posterior",
    "moments",
    "mutual_information",
    "posterior_mean_variances",
    "representation_scores",
]
