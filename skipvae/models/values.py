"""Encoding and decoding values as people have them: sentences, images as arrays, rows in the units of a table."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule
from torch import Tensor

from skipvae.decoders.base import Decoder
from skipvae.nn.evaluation_mode import in_evaluation_mode
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from skipvae.text.tokens import lengths
from skipvae.training.codecs import codec_of


class Codes(NamedTuple):
    """The posteriors q(z|x) of N values.

    Attributes:
        mean: float32 (N, K).
        std: standard deviations, float32 (N, K).
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


class ValuesInOut(LightningModule):
    """A model with latent variables that encodes and decodes values of its kind of data, NumPy in and out.

    Preprocessing is that of the training: the vocabulary, the standardisation of columns and the format of pictures lie
    in the checkpoint.
    """

    decoder: Decoder

    @property
    def latent_dim(self) -> int:
        """The size K of z."""
        return self.decoder.latent_dim

    def infer(self, x: Tensor) -> DiagonalGaussian:
        """The posterior q(z|x), see `VAE.infer`."""
        raise NotImplementedError

    @torch.no_grad()
    def encode(self, values: Any, batch_size: int = 256) -> Codes:
        """The posteriors of values; none depends on the others.

        Args:
            values: for text a list of sentences; for images an array, a tensor or a list of them, (N, C, H, W) or
                (N, H, W, C), bytes or fractions; for tables (N, D) in the units of the table.
            batch_size: how many are encoded at once.

        Raises:
            ValueError: if they are no values of this model's kind of data.
        """
        x = x_of(self, [values] if isinstance(values, str) else values)
        means, stds = (np.empty((len(x), self.latent_dim), np.float32) for _ in range(2))
        for rows, batch in batches_of(x, batch_size):
            posterior = self.infer(self.on_device(batch))
            means[rows] = posterior.mean.float().cpu().numpy()
            stds[rows] = (0.5 * posterior.logvar).exp().float().cpu().numpy()
        return Codes(means, stds)

    @torch.no_grad()
    @in_evaluation_mode
    def decode(self, z: Any, batch_size: int = 256, **options: Any) -> Any:
        """The values of latent vectors: the mean of p(x|z) where it has a closed form, the most probable words of text.

        Decoders of pixels that depend on each other have no mean in closed form: a draw, by torch's generator.

        Args:
            z: (N, K), array, tensor or lists.
            batch_size: how many are decoded at once.
            **options: of `decoder.preview`, such as max_length for text.

        Returns:
            A list of N sentences, or an array: images float32 (N, C, H, W), rows float64 (N, D) in the units of the
            table.

        Raises:
            ValueError: if z has another shape, or is not finite.
        """
        codec, preview = codec_of(self), self.decoder.preview
        latents = torch.as_tensor(np.asarray(z) if isinstance(z, (list, tuple)) else z).detach().to(self.dtype)
        if latents.dim() != 2 or latents.shape[1] != self.latent_dim:
            raise ValueError(f"z must be (N, {self.latent_dim}), not {tuple(latents.shape)}")
        if not bool(latents.isfinite().all()):
            raise ValueError("z has values that are not finite")
        decoded = [codec.decode(preview(self.on_device(part), **options)) for part in torch.split(latents, batch_size)]
        if all(isinstance(part, list) for part in decoded):
            return [value for part in decoded for value in part]
        return np.concatenate(decoded)

    def on_device(self, x: Tensor) -> Tensor:
        """x on the device of the model, and in its precision unless x are token ids."""
        return x.to(self.device) if x.dtype == torch.int64 else x.to(self.device).type(self.dtype)


def x_of(model: Any, values: Any) -> Tensor:
    """The x of values, (N, ...), as `ValuesInOut.encode` takes them.

    Fractions are rounded to bytes where the likelihood is one of bytes, such as what `ValuesInOut.decode` gave.

    Raises:
        ValueError: if they are no values of this model's kind of data, or none that its likelihood is of.
    """
    x = codec_of(model).encode(values)
    if not len(x):
        return x
    try:
        model.decoder.check(x)
    except ValueError:
        if model.decoder.modality != "image":
            raise
        x = (x * 255).round() / 255
        model.decoder.check(x)
    return x


def batches_of(x: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of x (N, ...) with their rows, int64 (B,); sentences of similar length together, to pad less.

    Example:
        >>> [(rows.tolist(), x.tolist()) for rows, x in batches_of(torch.tensor([[2, 7, 3], [2, 3, 0]]), 1)]
        [([1], [[2, 3]]), ([0], [[2, 7, 3]])]
    """
    if x.dtype != torch.int64:
        yield from zip(*(torch.split(part, batch_size) for part in (torch.arange(len(x)), x)), strict=True)
        return
    length = lengths(x)
    for rows in torch.split(length.argsort(stable=True), batch_size):
        yield rows, x[rows, : int(length[rows].max())]
