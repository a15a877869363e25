"""Decoders: (x, z) -> log p(x|z), and samples."""

from skipvae.decoders.base import Decoder, ImageDecoder
from skipvae.decoders.gaussian import GaussianMLPDecoder
from skipvae.decoders.lstm import LSTMDecoder
from skipvae.decoders.mlp import MLPDecoder
from skipvae.decoders.pixelcnn import GatedPixelCNNDecoder
from skipvae.decoders.residual_pixelcnn import ResidualPixelCNNDecoder
from skipvae.decoders.resnet import ResNetDecoder

__all__ = [
    "Decoder",
    "GatedPixelCNNDecoder",
    "GaussianMLPDecoder",
    "ImageDecoder",
    "LSTMDecoder",
    "MLPDecoder",
    "ResNetDecoder",
    "ResidualPixelCNNDecoder",
]
