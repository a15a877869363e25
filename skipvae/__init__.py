"""Variational autoencoders whose latent variables do not collapse.

Generative skip models feed the latent variable z to every layer of the decoder: A. B. Dieng, Y. Kim, A. M. Rush,
D. M. Blei, *Avoiding Latent Variable Collapse With Generative Skip Models*, AISTATS 2019 (arXiv:1807.04863).
"""

from skipvae.models import VAE, Autoregressive
from skipvae.posterior import DiagonalGaussian

__version__ = "0.1.0"
__all__ = ["VAE", "Autoregressive", "DiagonalGaussian"]
