"""Initialisation of the weights of new networks."""

from typing import Literal, TypeAlias, get_args

from torch import nn

from skipvae.nn.choices import check_choice

Init: TypeAlias = Literal["default", "he"]
"""`default`: PyTorch's, U(-1/sqrt(fan_in), 1/sqrt(fan_in)); `he`: He et al. (2015) for the weights of linear layers."""


def initialize(module: nn.Module, init: Init) -> None:
    """Applies a named initialisation to a new module.

    Raises:
        ValueError: if there is no initialisation of this name.
    """
    if check_choice("init", init, get_args(Init)) == "he":
        he_normal(module)


def he_normal(module: nn.Module) -> None:
    """N(0, 2 / fan_in) for the weights of every linear layer in `module`; biases stay as they are.

    The authors' initialisation of the linear maps in the ResNet encoder and the PixelCNN decoder.

    Source: He, Zhang, Ren & Sun 2015 (arXiv:1502.01852), eq. 10.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)


def he_normal_fan_out(module: nn.Module) -> None:
    """N(0, 2 / fan_out) for every convolution in `module`, fan_out = kernel area x out_channels.

    Source: the published code of He et al. 2019 (arXiv:1901.05534).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")


def xavier_uniform(module: nn.Module) -> None:
    """U(-a, a), a = sqrt(6 / (fan_in + fan_out)), for every linear layer in `module`, with zero bias.

    Source: Glorot & Bengio 2010; used in the published code of He et al. 2019 (arXiv:1901.05534).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def uniform(module: nn.Module, bound: float, embedding_bound: float | None = None) -> None:
    """U(-bound, bound) for every parameter of `module`, biases and embeddings too: the authors' setting for text.

    Args:
        module: a new module.
        bound: of all parameters.
        embedding_bound: of embeddings, where it is another, as in the published code of He et al. (2019).
    """
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound)
    for layer in module.modules():
        if embedding_bound is not None and isinstance(layer, nn.Embedding):
            nn.init.uniform_(layer.weight, -embedding_bound, embedding_bound)
