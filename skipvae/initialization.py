"""How weights start."""

from torch import nn


def he_normal(module: nn.Module) -> None:
    """He et al. (2015) initialisation of every linear layer in `module`, biases zero, as in the authors' settings."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def uniform(module: nn.Module, bound: float) -> None:
    """U(-bound, bound) for every parameter of `module`, biases and embeddings too: the authors' setting for text."""
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound)
