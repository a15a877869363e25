"""The interface of decoders: log p(x|z), and samples."""

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skipvae.nn.image_checks import check_image_shape
from skipvae.persistence.spec import Component


class Decoder(Component, nn.Module, ABC):
    """The likelihood p(x|z).

    Attributes:
        latent_dim: the size K of z; 0 means that there is no z (an autoregressive baseline) and z is None everywhere.
        skip: whether z reaches every layer (see `skipvae.skip`).
    """

    latent_dim: int
    skip: bool

    @abstractmethod
    def log_prob(self, x: Tensor, z: Tensor | None) -> Tensor:
        """log p(x|z) in nats, (B,), summed over pixels or tokens, for x (B, ...) and z (B, K)."""

    @abstractmethod
    def sample(self, z: Tensor | None, *args: Any, **options: Any) -> Tensor:
        """x ~ p(x|z), one for each row of z (B, K)."""

    def check(self, x: Tensor) -> str | None:
        """A caveat of log p(x|z) for such x, for the table of results; None for none.

        Raises:
            ValueError: if x is not what p(x|z) is a likelihood of, where `log_prob` would not notice.
        """
        return None

    def num_predictions(self, x: Tensor) -> Tensor | None:
        """The number of predicted tokens of each sentence, (B,), for perplexity; None where there are no tokens."""
        return None

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
    """A decoder of images in {0, 1}^(C x H x W): independent Bernoulli likelihood of each pixel given its logit.

    Grey values in between are accepted, but what comes out is then no log-density; tables of results say so.

    Attributes:
        image_shape: (C, H, W).
    """

    image_shape: tuple[int, int, int]

    @abstractmethod
    def logits(self, x: Tensor, z: Tensor | None) -> Tensor:
        """The log-odds of each pixel, (B, C, H, W)."""

    def check(self, x: Tensor) -> str | None:
        """See `Decoder.check`; x must be floating point and within [0, 1]."""
        if not x.is_floating_point() or bool((x < 0).any() | (x > 1).any()):
            raise ValueError(
                f"pixels must be floats from 0 to 1, but are {str(x.dtype).removeprefix('torch.')} from {x.min():g} to "
                f"{x.max():g}: scale them, bytes by x.float() / 255, -1 to 1 by (x + 1) / 2"
            )
        if bool(((x > 0) & (x < 1)).any()):
            return "no log-density: a Bernoulli likelihood of grey values"
        return None

    def log_prob(self, x: Tensor, z: Tensor | None) -> Tensor:
        """log p(x|z) in nats, (B,), for x (B, C, H, W) in [0, 1] and z (B, K)."""
        check_image_shape(x, self.image_shape)
        # In float32 under autocast: a sum of 784 terms in bfloat16 would be off by whole nats.
        logits = self.logits(x, z).flatten(1)
        logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        return -F.binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="none").sum(1)
