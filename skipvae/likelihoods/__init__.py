"""Likelihoods: the parameters that a decoder computes, and x, to log p(x)."""

from skipvae.likelihoods.base import Likelihood
from skipvae.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from skipvae.likelihoods.categorical import Categorical
from skipvae.likelihoods.discretized_logistic import DiscretizedLogistic
from skipvae.likelihoods.gaussian import Gaussian
from skipvae.likelihoods.measure import Measure

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Likelihood",
    "Measure",
]
