"""Encoders: x -> DiagonalGaussian."""

from skipvae.encoders.base import Encoder
from skipvae.encoders.group_norm_resnet import GroupNormResNetEncoder
from skipvae.encoders.lstm import LSTMEncoder
from skipvae.encoders.mlp import MLPEncoder
from skipvae.encoders.resnet import ResNetEncoder
from skipvae.encoders.strided_resnet import StridedResNetEncoder

__all__ = ["Encoder", "GroupNormResNetEncoder", "LSTMEncoder", "MLPEncoder", "ResNetEncoder", "StridedResNetEncoder"]
