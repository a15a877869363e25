"""Encoders: x -> DiagonalGaussian."""

from skipvae.encoders.base import Encoder
from skipvae.encoders.mlp import MLPEncoder

__all__ = ["Encoder", "MLPEncoder"]
