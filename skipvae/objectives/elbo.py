"""The evidence lower bound, its terms, and the importance-weighted likelihood; nats per example throughout."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from skipvae.decoders.base import Decoder
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian, standard_normal_log_prob


class Elbo(NamedTuple):
    """The terms of the ELBO of each example: minus the distortion, and the rate of each dimension."""

    reconstruction: Tensor
    """E_q[log p(x|z)] by one sample of z, nats, (B,)."""
    kl_per_dim: Tensor
    """KL(q(z_k|x) || p(z_k)), nats, (B, K)."""

    @property
    def kl(self) -> Tensor:
        """KL(q(z|x) || p(z)), nats, (B,)."""
        return self.kl_per_dim.sum(-1)

    @property
    def elbo(self) -> Tensor:
        """E_q[log p(x|z)] - KL(q(z|x) || p(z)), nats, (B,), whatever weight training gives to the KL."""
        return self.reconstruction - self.kl


def elbo(decoder: Decoder, x: Tensor, posterior: DiagonalGaussian, noise: Tensor | None = None) -> Elbo:
    """ELBO(x) = E_q[log p(x|z)] - KL(q(z|x) || p(z)), by one sample of z for each example.

    Args:
        decoder: p(x|z).
        x: (B, ...).
        posterior: q(z|x), parameters (B, K).
        noise: standard normal, (B, K), for the sample of z; drawn here when not given.

    Returns:
        The terms of each example.

    Source: Kingma & Welling 2014 (arXiv:1312.6114), eq. 3.
    """
    return Elbo(decoder(x, posterior.rsample(noise)), posterior.kl())


def training_loss(terms: Elbo, beta: float | Tensor = 1.0, free_bits: float = 0.0) -> Tensor:
    """beta sum_k max(free_bits, mean KL_k) - mean log p(x|z): minus the batch mean of the ELBO, with a weighted KL.

    Args:
        terms: the ELBO of each example.
        beta: weight of the KL.
        free_bits: nats that each latent dimension may use, on average over the batch, before its KL has a cost; 0
            switches it off.

    Returns:
        (), nats per example.

    Source: Kingma et al. 2016 (arXiv:1606.04934), eq. 15, for free bits.
    """
    rate = terms.kl_per_dim.mean(0)  # (K,)
    if free_bits > 0:
        rate = rate.clamp(min=free_bits)
    return beta * rate.sum() - terms.reconstruction.mean()


def importance_weighted_log_likelihood(
    decoder: Decoder, x: Tensor, posterior: DiagonalGaussian, num_samples: int, chunk_size: int = 1024
) -> Tensor:
    """log 1/S sum_s p(x|z_s) p(z_s) / q(z_s|x), z_s ~ q(z|x): a lower bound of log p(x) that rises with S.

    Args:
        decoder: p(x|z).
        x: (B, ...).
        posterior: q(z|x), parameters (B, K).
        num_samples: S.
        chunk_size: see `log_weights`.

    Returns:
        (B,) nats, float64.

    Raises:
        ValueError: if num_samples is below 1.

    Source: Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519), eq. 8.
    """
    return average_weight(log_weights(decoder, x, posterior, num_samples, chunk_size))


def average_weight(log_weights: Tensor) -> Tensor:
    """log 1/S sum_s w_s, (B,), of log weights (S, B)."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def log_weights(
    decoder: Decoder,
    x: Tensor,
    posterior: DiagonalGaussian,
    num_samples: int,
    chunk_size: int = 1024,
    noise: Tensor | None = None,
) -> Tensor:
    """log w_s = log p(x|z_s) + log p(z_s) - log q(z_s|x), z_s ~ q(z|x); their mean over s estimates the ELBO.

    Args:
        decoder: p(x|z).
        x: (B, ...).
        posterior: q(z|x), parameters (B, K).
        num_samples: S.
        chunk_size: approximate number of pairs of example and sample that the decoder computes at once, which bounds
            the memory.
        noise: standard normal, (S, B, K), for the samples of z; drawn here when not given.

    Returns:
        (S, B) nats, float64.

    Raises:
        ValueError: if num_samples is below 1.
    """
    if num_samples < 1:
        raise ValueError(f"the importance-weighted bound needs at least one sample, not {num_samples}")
    of_examples = []
    for rows in torch.split(torch.arange(len(x), device=x.device), chunk_size):
        q = DiagonalGaussian(posterior.mean[rows], posterior.logvar[rows])
        of_samples = []
        for start in range(0, num_samples, samples := max(1, chunk_size // len(rows))):
            end = min(start + samples, num_samples)
            repeated = q.repeat(end - start)
            z = repeated.rsample(None if noise is None else noise[start:end, rows].flatten(0, 1))  # (samples * B, K)
            log_weight = standard_normal_log_prob(z) - repeated.log_prob(z)
            log_weight = log_weight + decoder(x[rows].repeat(end - start, *[1] * (x.dim() - 1)), z)
            of_samples.append(log_weight.double().view(end - start, -1))
        of_examples.append(torch.cat(of_samples))
    return torch.cat(of_examples, 1)
