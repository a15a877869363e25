"""The paper's fully connected encoder."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from skipvae.encoders.base import Encoder
from skipvae.nn.image_checks import array_shape, check_image_shape
from skipvae.nn.initialization import Init, initialize
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class MLPEncoder(Encoder):
    """h(0) = x, h(l) = relu(W h(l-1) + b), l = 1..L; (mean, logvar) = W h(L) + b.

    The authors' MLP has two layers of 1024 units.

    Args:
        latent_dim: size K of z.
        image_shape: (C, H, W), or (D,) for rows of a table.
        hidden_dim: units in each hidden layer.
        num_layers: number L of hidden layers.
        init: `default`, PyTorch's as in the authors' code, or `he` (He et al. 2015).

    Raises:
        ValueError: if num_layers is negative, or there is no such initialisation.

    Source: Dieng et al. 2019 (arXiv:1807.04863), the published code.

    Example:
        >>> import torch
        >>> MLPEncoder(latent_dim=2, hidden_dim=8)(torch.zeros(3, 1, 28, 28)).mean.shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        latent_dim: int = 20,
        image_shape: Sequence[int] = (1, 28, 28),
        hidden_dim: int = 1024,
        num_layers: int = 2,
        init: Init = "default",
    ) -> None:
        super().__init__()
        if num_layers < 0:
            raise ValueError(f"num_layers is {num_layers}: take 0 or more hidden layers")
        self.latent_dim = latent_dim
        self.image_shape = array_shape(image_shape)
        layers: list[nn.Module] = []
        width = prod(self.image_shape)
        for _ in range(num_layers):
            layers += [nn.Linear(width, hidden_dim), nn.ReLU()]
            width = hidden_dim
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2 * latent_dim))
        initialize(self, init)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x), parameters (B, K), for x (B, C, H, W) or (B, D)."""
        check_image_shape(x, self.image_shape)
        return DiagonalGaussian.from_parameters(self.layers(x.flatten(1)))
