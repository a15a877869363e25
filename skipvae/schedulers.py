"""The learning-rate schedulers, by the name under which configs and saved runs know them."""

from skipvae.training.schedulers import HalveAndReload, HalveOnPlateau

__all__ = ["HalveAndReload", "HalveOnPlateau"]
