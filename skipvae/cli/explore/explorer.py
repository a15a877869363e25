"""The model side of `skipvae explore`: latent dimensions by KL, codes, their values, the nearest training examples."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skipvae.models import VAE
from skipvae.models.test_split import Examples
from skipvae.models.values import batches_of
from skipvae.training.codecs import codec_of, label_names_of

Code = NDArray[np.float32]
"""A latent vector z, (K,)."""

MAX_DIMENSIONS = 12
"""Dimensions that have a slider, at most."""
REACH = 3.0
"""How far from 0 a slider goes at least: three standard deviations of the prior."""


class Dimension(NamedTuple):
    """A latent dimension.

    Attributes:
        number: its index in z, from 0.
        kl: its KL in nats, averaged over the training examples; None where there are none at hand.
        reach: the largest value of interest, and minus the smallest: of the prior and of the training examples.
    """

    number: int
    kl: float | None
    reach: float


class Explorer:
    """A model and the codes of its training examples.

    Values are what people read: sentences, images (N, C, H, W), rows (N, D) in the units of the table.

    Args:
        model: the model.
        splits: examples of the splits at hand; those of "training" are encoded.
        advance: called with the number of examples of each batch that is encoded.
        seed: of the draws from the prior, and of the one draw from p(x|z) that decoders without a mean show.

    Raises:
        ValueError: if the model's kind of data cannot be shown.
    """

    def __init__(
        self,
        model: VAE,
        splits: Mapping[str, Examples] | None = None,
        advance: Callable[[int], object] = lambda _: None,
        seed: int = 1,
    ) -> None:
        self.model, self.splits, self._seed = model, dict(splits or {}), seed
        self.modality, self._codec = model.decoder.modality, codec_of(model)
        self._label_names = label_names_of(model)
        train = self.splits.get("training")
        self.means: NDArray[np.float32] = np.zeros((0, model.latent_dim), np.float32)
        """The posterior means of the training examples, (N, K)."""
        kl = None
        if train is not None:
            self.means, kl = _encoded(model, train.x, advance)
        self.dimensions = _dimensions(self.means, kl, model.latent_dim)
        """All dimensions, those of the largest KL first; without training examples in their order."""

    @torch.no_grad()
    def code(self, x: Tensor) -> Code:
        """The posterior mean of one x, (1, ...)."""
        mean: Code = self.model.infer(self.model.on_device(x)).mean[0].float().cpu().numpy()
        return mean

    def prior(self, number: int) -> Code:
        """A draw from the prior; another one for each number."""
        draw = np.random.default_rng([self._seed, number]).standard_normal(self.model.latent_dim)
        return draw.astype(np.float32)

    def decode(self, z: Code | NDArray[np.float32]) -> Any:
        """The values of latent vectors (N, K), as `VAE.decode`; the same z gives the same values."""
        device = self.model.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self._seed)
            return self.model.decode(z)

    def values(self, x: Tensor) -> Any:
        """The values of x (N, ...)."""
        return self._codec.decode(x)

    def line(self, start: Code, end: Code, steps: int) -> NDArray[np.float32]:
        """`steps` points of the straight line from a code to another, ends included, (steps, K)."""
        return np.linspace(start, end, steps, dtype=np.float32)

    def nearest(self, z: Code, num: int) -> list[tuple[int, float]]:
        """The training examples whose posterior means are nearest to z, as index and Euclidean distance."""
        distances = np.linalg.norm(self.means.astype(np.float64) - z, axis=1)
        return [(int(row), float(distances[row])) for row in distances.argsort(kind="stable")[:num]]

    def label(self, split: str, index: int) -> str:
        """The name of the class of an example, or its number; "" without labels."""
        labels = self.splits[split].label
        if labels is None:
            return ""
        number = int(labels[index])
        return self._label_names[number] if 0 <= number < len(self._label_names) else f"class {number}"


@torch.no_grad()
def _encoded(model: VAE, x: Tensor, advance: Callable[[int], object]) -> tuple[NDArray[np.float32], Tensor]:
    """The posterior means (N, K) of x, and the average KL of each dimension, (K,)."""
    means, kl = np.empty((len(x), model.latent_dim), np.float32), torch.zeros(model.latent_dim, dtype=torch.double)
    for rows, batch in batches_of(x, batch_size=64):
        posterior = model.infer(model.on_device(batch))
        means[rows.numpy()] = posterior.mean.float().cpu().numpy()
        kl += posterior.kl().double().sum(0).cpu()
        advance(len(batch))
    return means, kl / len(x)


def _dimensions(means: NDArray[np.float32], kl: Tensor | None, latent_dim: int) -> list[Dimension]:
    reach = np.maximum(np.abs(means).max(0, initial=0), REACH)
    if kl is None:
        return [Dimension(k, None, float(reach[k])) for k in range(latent_dim)]
    order = kl.argsort(descending=True, stable=True).tolist()
    return [Dimension(k, float(kl[k]), float(reach[k])) for k in order]
