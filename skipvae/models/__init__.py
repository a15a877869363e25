"""The LightningModules."""

from skipvae.models.autoregressive import Autoregressive
from skipvae.models.base import GenerativeModel
from skipvae.models.loading import load
from skipvae.models.vae import VAE

__all__ = ["VAE", "Autoregressive", "GenerativeModel", "load"]
