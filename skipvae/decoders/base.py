"""The interface of decoders: log p(x|z), and samples."""

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from skipvae.likelihoods import Bernoulli, Likelihood, Measure
from skipvae.nn.image_checks import check_image_shape
from skipvae.persistence.spec import Component

Modality = Literal["image", "table", "text", "other"]


class Decoder(Component, nn.Module, ABC):
    """The likelihood p(x|z).

    Attributes:
        latent_dim: the size K of z; 0 means that there is no z (an autoregressive baseline) and z is None everywhere.
        skip: whether z reaches every layer (see `skipvae.skip`).
        modality: the kind of x, for what is drawn, printed and read: "image" (`image_shape` says which size), "table"
            (it says how many columns), "text" (`vocab_size` says how many tokens), or "other".
    """

    modality: Modality = "other"
    latent_dim: int
    skip: bool

    @abstractmethod
    def log_prob(self, x: Tensor, z: Tensor | None) -> Tensor:
        """log p(x|z) in nats, (B,), summed over pixels or tokens, for x (B, ...) and z (B, K)."""

    @abstractmethod
    def sample(self, z: Tensor | None, *args: Any, **options: Any) -> Tensor:
        """x ~ p(x|z), one for each row of z (B, K)."""

    def check(self, x: Tensor) -> Measure | None:
        """The meaning of log p(x|z) for such x, for the results; None where it needs no words, as for text.

        Raises:
            ValueError: if x is not what p(x|z) is a likelihood of, where `log_prob` would not notice.
        """
        return None

    def num_predictions(self, x: Tensor) -> Tensor | None:
        """The number of predicted tokens of each sentence, (B,), for perplexity; None where there are no tokens."""
        return None

    def mean(self, z: Tensor | None) -> Tensor:
        """The mean of p(x|z), (B, ...), for z (B, K).

        Raises:
            ValueError: if there is none in closed form.
        """
        raise ValueError(f"{type(self).__name__} has draws from p(x|z) and no mean of it: leave mean out")

    def preview(self, z: Tensor) -> Tensor:
        """One x to show for each z (B, K): the mean of p(x|z) where it has a closed form, else a sample."""
        return self.sample(z)

    @property
    def recurrent(self) -> bool:
        """Whether a recurrent network steps through x."""
        return any(isinstance(module, nn.RNNBase) for module in self.modules())

    def twice_differentiable(self, device: torch.device) -> bool:
        """Whether gradients of `log_prob` can be differentiated again there: those of cuDNN's LSTM cannot."""
        return not (self.recurrent and device.type == "cuda" and torch.backends.cudnn.enabled)

    def forward(self, x: Tensor, z: Tensor | None) -> Tensor:
        """The same as `log_prob`."""
        return self.log_prob(x, z)


class ImageDecoder(Decoder):
    """A decoder of images (C, H, W): a likelihood, independent for each pixel given its parameters.

    Rows of a table (D,) are the same without H and W: each column is a channel.

    Attributes:
        image_shape: (C, H, W), or (D,).
        likelihood: what the parameters are parameters of, Bernoulli unless given.
    """

    modality: Modality = "image"
    image_shape: tuple[int, ...]

    def __init__(self, likelihood: Likelihood | None = None) -> None:
        super().__init__()
        self.likelihood = Bernoulli() if likelihood is None else likelihood

    @abstractmethod
    def logits(self, x: Tensor | None, z: Tensor | None) -> Tensor:
        """The parameters of the likelihood of each pixel, (B, P, H, W) or (B, P), P = likelihood.num_parameters(C).

        For the Bernoulli likelihood the log-odds, (B, C, H, W). x is None where they do not depend on it: a decoder
        whose pixels depend on each other overrides `sample`, `mean` and `preview`.
        """

    def check(self, x: Tensor) -> Measure | None:
        """See `Decoder.check`: what the likelihood says of x."""
        return self.likelihood.check(x)

    def log_prob(self, x: Tensor, z: Tensor | None) -> Tensor:
        """log p(x|z) in nats, (B,), for x (B, C, H, W) or (B, D), and z (B, K)."""
        check_image_shape(x, self.image_shape)
        return self.likelihood.log_prob(self.logits(x, z), x)

    def sample(self, z: Tensor | None, *, generator: torch.Generator | None = None, **options: Any) -> Tensor:
        """x ~ p(x|z), one for each row of z (B, K): (B, C, H, W) or (B, D)."""
        return self.likelihood.sample(self.logits(None, z), generator)

    def mean(self, z: Tensor | None) -> Tensor:
        """The mean of p(x|z), (B, C, H, W) or (B, D)."""
        return self.likelihood.mean(self.logits(None, z))

    def preview(self, z: Tensor) -> Tensor:
        """The mean of p(x|z), (B, C, H, W) or (B, D)."""
        return self.mean(z)
