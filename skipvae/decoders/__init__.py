"""Decoders: (x, z) -> log p(x|z), and samples."""

from skipvae.decoders.base import Decoder, ImageDecoder
from skipvae.decoders.mlp import MLPDecoder

__all__ = ["Decoder", "ImageDecoder", "MLPDecoder"]
