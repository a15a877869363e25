"""Posterior distributions of the latent variables."""

from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian

__all__ = ["DiagonalGaussian"]
