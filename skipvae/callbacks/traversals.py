"""Latent traversals: one example with one latent dimension at a time moved from -3 to 3, the most used ones first."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

LARGEST_Z = 3.0


class Traversals(NamedTuple):
    """Examples along R latent dimensions, P points each.

    Attributes:
        x: (R, P, ...), the mean of p(x|z), or a draw where there is none.
        path: (P,), the values of the dimension that moves.
        labels: R texts, the number of each dimension and its KL in nats.
    """

    x: Tensor
    path: Tensor
    labels: list[str]


def traversals(model: Any, x: Tensor, num_dimensions: int, num_points: int) -> Traversals:
    """The traversals of one example x (1, ...), from its posterior mean, along the dimensions with the largest KL.

    The dimensions are sorted, the largest KL of the last validation first. A model in evaluation mode, no gradients.
    """
    kl = torch.tensor(model.results.get("kl_per_dim", [0.0] * model.latent_dim))  # (K,)
    dimensions = kl.argsort(descending=True, stable=True)[:num_dimensions].tolist()
    path = torch.linspace(-LARGEST_Z, LARGEST_Z, num_points)
    z = model.infer(x).mean.repeat(len(dimensions), num_points, 1)  # (R, P, K)
    for row, dimension in enumerate(dimensions):
        z[row, :, dimension] = path.to(z)
    shown = model.decoder.preview(z.flatten(0, 1))
    labels = [f"z{dimension}  {kl[dimension]:.2f}" for dimension in dimensions]
    return Traversals(shown.view(len(dimensions), num_points, *shown.shape[1:]), path, labels)
