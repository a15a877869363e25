"""Initialisation of weights."""

from typing import Literal, TypeAlias

from torch import nn

Init: TypeAlias = Literal["default", "he"]
"""`default`: PyTorch's, U(-1/sqrt(fan_in), 1/sqrt(fan_in)); `he`: He et al. (2015) for the weights of linear layers."""


def initialize(module: nn.Module, init: Init) -> None:
    """Applies a named initialisation to a module that PyTorch has just made.

    Raises:
        ValueError: if there is no initialisation of this name.
    """
    if init not in ("default", "he"):
        raise ValueError(f"init is {init!r}: choose default (PyTorch's, the authors' for the MLP) or he")
    if init == "he":
        he_normal(module)


def he_normal(module: nn.Module) -> None:
    """N(0, 2 / fan_in) for the weights of every linear layer in `module` (He et al. 2015); biases stay as they are.

    The authors' initialisation of the linear maps in the ResNet encoder and the PixelCNN decoder.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)


def he_normal_fan_out(module: nn.Module) -> None:
    """N(0, 2 / (kernel area x out_channels)) for every convolution in `module`, as in the code of He et al. (2019)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")


def xavier_uniform(module: nn.Module) -> None:
    """Glorot & Bengio (2010) for every linear layer in `module`, with zero bias, as in the code of He et al. (2019)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def uniform(module: nn.Module, bound: float, embedding_bound: float | None = None) -> None:
    """U(-bound, bound) for every parameter of `module`, biases and embeddings too: the authors' setting for text.

    `embedding_bound`, where given, is that of the embeddings, as in the code of He et al. (2019).
    """
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound)
    for layer in module.modules():
        if embedding_bound is not None and isinstance(layer, nn.Embedding):
            nn.init.uniform_(layer.weight, -embedding_bound, embedding_bound)
