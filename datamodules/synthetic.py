"""Data sets whose likelihood and mutual information are known, to compare estimates with.

Both data modules have an attribute `truth`: exact values for their test split, in nats per example, under the names of
the results to compare them with.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from math import log, pi, prod
from typing import Any

import torch
from torch import Tensor

from datamodules.corpus_rows import SPLITS, Part
from datamodules.images import Examples, ImageDataModule, Splits
from datamodules.lines import TextInMemory
from datamodules.lstm_generator import LSTMGenerator
from datamodules.lstm_generator import Truth as LSTMTruth
from datamodules.randomness import Stream, normal
from datamodules.sentences import SentenceDataModule
from datamodules.vocabulary import Vocabulary


class LinearGaussianDataModule(ImageDataModule):
    """Probabilistic PCA (Tipping & Bishop 1999): x = W z + b + noise e, with z ~ N(0, I_K) and e ~ N(0, I_D).

    The columns of W are orthogonal, and the k-th has the squared length noise^2 signal_to_noise[k]. So the exact
    posterior is a Gaussian with a diagonal covariance, which an encoder of that family can reach, and

        I(x; z) = 1/2 log det(I + W W^T / noise^2) = 1/2 sum_k log(1 + signal_to_noise[k]).

    x is an "image" of any real numbers. Its label is the quadrant of the first two entries of z. Examples are a pure
    function of `data_seed`; `seed` decides the training order alone. See `ImageDataModule` for batches.

    Args:
        image_shape: (C, H, W), D values in all.
        signal_to_noise: Signal-to-noise ratio of each of the K dimensions of z.
        noise: Standard deviation of the noise.
        sizes: Examples for training, validation and test.
        data_seed: Seed of W, b and all examples.
        kwargs: See `ImageDataModule`.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> data = LinearGaussianDataModule(signal_to_noise=[3.0, 1.0], sizes=(100, 50, 50))
        >>> data.setup()
        >>> x, label = next(iter(data.train_dataloader()))
        >>> x.shape, data.log_likelihood(x).shape, round(data.mutual_information, 2)
        (torch.Size([50, 1, 4, 4]), torch.Size([50]), 1.04)
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 4, 4),
        signal_to_noise: Sequence[float] = (8.0, 4.0, 2.0, 1.0),
        noise: float = 1.0,
        sizes: Sequence[int] = (10_000, 1_000, 5_000),
        data_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(binarize="none", **kwargs)
        channels, height, width = image_shape
        _check_sizes(sizes)
        if not 1 <= len(signal_to_noise) <= prod(image_shape) or min(signal_to_noise) < 0:
            raise ValueError(f"signal_to_noise must have 1..{prod(image_shape)} entries, none below 0")
        if noise <= 0:
            raise ValueError(f"noise={noise} must be above 0")
        self.image_shape, self.noise, self.sizes, self.data_seed = (channels, height, width), noise, sizes, data_seed
        self.signal_to_noise = torch.tensor(signal_to_noise, dtype=torch.double)  # (K,)
        self.mean = self._normal(Stream.WEIGHTS, 0, 1, prod(image_shape))[0]  # (D,)
        basis, triangle = torch.linalg.qr(self._normal(Stream.WEIGHTS, 1, prod(image_shape), len(signal_to_noise)))
        self.basis = basis * triangle.diagonal().sign()  # (D, K); QR leaves the signs to the library

    def _normal(self, stream: Stream, number: int, rows: int, columns: int) -> Tensor:
        return normal(stream, self.data_seed, number, torch.arange(rows).unsqueeze(1), torch.arange(columns))

    def load(self) -> Splits:
        return Splits(*(self._draw(split, size) for split, size in enumerate(self.sizes)))

    def _draw(self, split: int, size: int) -> Examples:
        z = self._normal(Stream.LATENTS, split, size, len(self.signal_to_noise))
        noise = self._normal(Stream.NOISE, split, size, len(self.mean))
        x = z @ self.weight.T + self.mean + self.noise * noise
        quadrant = ((z[:, :2] > 0) * torch.tensor([1, 2])[: z.shape[1]]).sum(1)
        return Examples(x.float().view(size, *self.image_shape), quadrant)

    # -- exact quantities -------------------------------------------------------------------------------------------

    @property
    def weight(self) -> Tensor:
        """W, (D, K)."""
        weight: Tensor = self.basis * (self.noise * self.signal_to_noise.sqrt())
        return weight

    @property
    def mutual_information(self) -> float:
        """I(x; z) in nats."""
        return 0.5 * float(self.signal_to_noise.log1p().sum())

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x) = log N(x; b, W W^T + noise^2 I) in nats, (B,) float64, for x (B, C, H, W)."""
        residual, scores = self._scores(x)
        explained = scores.square() * self.signal_to_noise / (1 + self.signal_to_noise)
        constant = len(self.mean) * log(2 * pi * self.noise**2) + self.signal_to_noise.log1p().sum()
        return -0.5 * (residual.square().sum(1) - explained.sum(1) + constant)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the exact p(z|x), both (B, K) float64, for x (B, C, H, W)."""
        _, scores = self._scores(x)
        variance = 1 / (1 + self.signal_to_noise)
        return scores * self.signal_to_noise.sqrt() * variance, variance.expand_as(scores)

    def _scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(x - b) / noise, (B, D), and its coordinates along the columns of W, (B, K)."""
        residual = (x.double().cpu().flatten(1) - self.mean) / self.noise
        return residual, residual @ self.basis

    @property
    def truth(self) -> dict[str, float]:
        """I(x; z), and the mean of -log p(x) over the test split."""
        self.setup()
        assert self.splits is not None
        return {"mi": self.mutual_information, "nll": -float(self.log_likelihood(self.splits.test.images).mean())}


class LSTMCorpusDataModule(SentenceDataModule):
    """Sentences that an LSTM with random weights writes from a two-dimensional z (after He et al. 2019).

    All have the same number of words; labels are the four components of p(z). Sentences are a pure function of
    `data_seed`; `seed` decides the training order alone. See `LSTMGenerator` for the model, `SentenceDataModule` for
    batches.

    Args:
        vocab_size: Size of the vocabulary, the four special tokens included.
        length: Number of words of a sentence.
        embedding_dim: Embedding size of the generating LSTM.
        hidden_dim: Hidden size of the generating LSTM.
        output_range: Range of the weights of its vocabulary projection: the larger, the more a word reveals about z.
        sizes: Sentences for training, validation and test.
        data_seed: Seed of the weights and of all sentences.
        kwargs: See `SentenceDataModule`.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> data = LSTMCorpusDataModule(vocab_size=50, hidden_dim=8, sizes=(320, 20, 20))
        >>> data.setup()
        >>> tokens, label = next(iter(data.train_dataloader()))
        >>> tokens.shape, data.vocab_size, sorted(data.truth)
        (torch.Size([32, 12]), 50, ['mi', 'mi_stderr', 'nll'])
    """

    has_text = False

    def __init__(
        self,
        vocab_size: int = 1000,
        length: int = 10,
        embedding_dim: int = 100,
        hidden_dim: int = 100,
        output_range: float = 1.0,
        sizes: Sequence[int] = (16_000, 2_000, 1_000),
        data_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(vocab_size=vocab_size, **kwargs)
        _check_sizes(sizes)
        for name, size in {"vocab_size - 4": vocab_size - 4, "length": length, "hidden_dim": hidden_dim}.items():
            if size < 1:
                raise ValueError(f"{name} is {size}: it must be at least 1")
        self.generated = (vocab_size - 4, length, embedding_dim, hidden_dim, output_range, data_seed)
        self.generator = LSTMGenerator(*self.generated)
        self.sizes = sizes
        self.names = [f"w{number:04d}" for number in range(vocab_size - 4)]

    def given_vocabulary(self) -> Vocabulary:
        """All words that can occur, so that none is ever unknown; or those of `vocab_file`."""
        return super().given_vocabulary() or Vocabulary.build([" ".join(self.names)], len(self.names) + 4)

    def parts(self) -> list[Part]:
        return [
            Part(TextInMemory(split, [*self.generated, size], partial(self._texts, number, size)), split)
            for number, (split, size) in enumerate(zip(SPLITS, self.sizes, strict=True))
        ]

    def _texts(self, split: int, size: int) -> tuple[list[str], list[str]]:
        drawn = self.generator.draw(size, split)
        texts = [" ".join(self.names[word] for word in sentence) for sentence in drawn.words.tolist()]
        return texts, [str(component) for component in drawn.component.tolist()]

    @property
    def truth(self) -> dict[str, float]:
        """I(x; z) with the standard error of its mean over the test split, and the mean of -log p(x) there.

        A minute or so of work, once per process.
        """
        log_likelihood, information = _lstm_truth(self.generator, self.sizes[2])
        error = information.std() / len(information) ** 0.5
        return {"mi": float(information.mean()), "mi_stderr": float(error), "nll": -float(log_likelihood.mean())}


@lru_cache(maxsize=4)
def _lstm_truth(generator: LSTMGenerator, size: int) -> LSTMTruth:
    return generator.truth(generator.draw(size, 2).words)


def _check_sizes(sizes: Sequence[int]) -> None:
    if len(sizes) != 3 or min(sizes) < 1:
        raise ValueError(f"sizes={list(sizes)} must be three numbers of examples, for training, validation and test")
