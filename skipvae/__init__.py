"""Variational autoencoders whose latent variables do not collapse.

Generative skip models feed the latent variable z to every layer of the decoder: A. B. Dieng, Y. Kim, A. M. Rush,
D. M. Blei, *Avoiding Latent Variable Collapse With Generative Skip Models*, AISTATS 2019 (arXiv:1807.04863).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skipvae.models import VAE, Autoregressive, load
    from skipvae.posteriors import DiagonalGaussian

__version__ = "0.1.0"
__all__ = ["VAE", "Autoregressive", "DiagonalGaussian", "load"]

_HOME = {"VAE": "models", "Autoregressive": "models", "load": "models", "DiagonalGaussian": "posteriors"}
_SUBPACKAGES = ("callbacks", "decoders", "encoders", "inference", "metrics", "models", "objectives", "posteriors")


def __getattr__(name: str) -> Any:
    """Imports public names when they are first used, so that the command line need not wait for PyTorch."""
    if name in _HOME:
        return getattr(import_module(f"skipvae.{_HOME[name]}"), name)
    if name in _SUBPACKAGES:
        return import_module(f"skipvae.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
