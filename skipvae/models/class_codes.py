"""The codes of a class, as a simple substitute for a conditional model."""

from difflib import get_close_matches
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.distributions import MultivariateNormal

from skipvae.models.vae import VAE

MAX_EXAMPLES = 10_000
"""Examples that a Gaussian is fitted to, at most."""


class ClassCodes:
    """A Gaussian fitted to the aggregated posterior of a class, q(z|label) = mean over its x of q(z|x).

    It has the mean and the covariance of that mixture: covariance of the means plus average of the variances. Where the
    class is not one blob in latent space, draws fall between its parts, too.

    Args:
        mean: posterior means (N, K) of the N examples of the class.
        variance: their posterior variances (N, K).

    Example:
        >>> codes = ClassCodes(torch.zeros(4, 2), torch.ones(4, 2))
        >>> codes.covariance.tolist(), codes.sample(3).shape
        ([[1.0, 0.0], [0.0, 1.0]], torch.Size([3, 2]))
    """

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        self.mean = mean.double().mean(0)
        centered = mean.double() - self.mean
        self.covariance = centered.T @ centered / len(mean) + variance.double().mean(0).diag()
        self._dtype, self._device = mean.dtype, mean.device

    def sample(self, n: int) -> Tensor:
        """n draws z, (n, K), by torch's generator."""
        gaussian = MultivariateNormal(self.mean.cpu(), self.covariance.cpu())
        return gaussian.sample((n,)).to(self._device, self._dtype)


@torch.no_grad()
def class_codes(model: VAE, label: str, data: LightningDataModule) -> ClassCodes:
    """The codes of the training examples of a class.

    Args:
        model: that encodes them.
        label: name of the class, or its number where the data has no names.
        data: whose training split has the examples, as `(x, label)`.

    Raises:
        ValueError: if there is no such class, or none of its examples in the training split.
    """
    data.prepare_data()
    data.setup("fit")
    names = [str(name) for name in getattr(data, "label_names", None) or ()]
    if names and label not in names:
        near = get_close_matches(label, names, 1)
        meant = f"did you mean {near[0]}?" if near else f"the data has {', '.join(names[:20])}"
        raise ValueError(f"there is no class {label}: {meant}")
    if not names and not label.isdecimal():
        raise ValueError(f"the data has no names of classes: give the number of one, not {label}")
    number = names.index(label) if names else int(label)
    means, variances, remaining = list[Tensor](), list[Tensor](), MAX_EXAMPLES
    loader: Any = data.train_dataloader()
    for batch in loader:
        chosen = batch[0][batch[1] == number][:remaining] if len(batch) > 1 else batch[0][:0]
        if len(chosen):
            posterior = model.infer(model.on_device(chosen))
            means.append(posterior.mean)
            variances.append(posterior.logvar.exp())
            remaining -= len(chosen)
        if not remaining:
            break
    if not means:
        raise ValueError(f"the training split has no examples of class {label}: give another one, or data with labels")
    return ClassCodes(torch.cat(means), torch.cat(variances))
