"""An LSTM with random weights that writes sentences from a two-dimensional z: a corpus whose statistics are known.

After the synthetic data of He et al. 2019, *Lagging inference networks* (arXiv:1901.05534): z comes from a mixture of
four Gaussians, enters the initial state and every input of a one-layer LSTM, and the LSTM draws ten words. All weights
are uniform in (-1, 1) here, those of the vocabulary projection in a range of their own, which sets how much a word is
determined by the state of the LSTM; the means of the mixture and its width are ours too.

With two dimensions of z, log p(x) and the information that x holds about z are integrals over a plane, which the
midpoint rule computes: its error falls faster than any power of the step once that is below the width of the posterior
p(z|x).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.randomness import Stream, normal, random_words, uniform

MEANS = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.double)
"""Means of the four components of p(z), which have the same weight."""
WIDTH = 0.5
"""Standard deviation of each component."""
LIMIT = 1.0 + 5 * WIDTH
"""The plane is integrated from -LIMIT to LIMIT in both dimensions."""
NEGLIGIBLE = 1e-6
"""Posterior mass below which a cell of the plane is not refined."""
ROWS = 512
"""Number of pairs of sentence and z that are computed at once: they fit into the cache of a processor."""


class GeneratedSentences(NamedTuple):
    """Sentences of a generator: words (N, T) in 0..num_words - 1, their z (N, 2), and its component (N,) in 0..3."""

    words: Tensor
    z: Tensor
    component: Tensor


class Truth(NamedTuple):
    """Exact quantities of sentences, in nats, (N,) float64.

    The mean of `information` over x ~ p(x) is the mutual information I(x; z).
    """

    log_likelihood: Tensor
    """log p(x)."""
    information: Tensor
    """KL(p(z|x) || p(z)), with the exact posterior."""


class _Weights(NamedTuple):
    initial: Tensor  # (2, H): z to h(0)
    embedding: Tensor  # (V + 1, 4H): contribution of each word, and at last of BOS, to the gates
    latent: Tensor  # (2, 4H): contribution of z to the gates
    bias: Tensor  # (4H,)
    recurrent: Tensor  # (H, 4H)
    output: Tensor  # (H, V)


@dataclass(frozen=True)
class LSTMGenerator:
    """p(z) and p(x|z), a pure function of these arguments.

    Args:
        num_words: size of the vocabulary, without special tokens.
        length: T, the number of words of a sentence.
        embedding_dim: size of a word's embedding.
        hidden_dim: units of the LSTM.
        output_range: the weights of the vocabulary projection are uniform in (-output_range, output_range).
        seed: of the weights.

    Example:
        >>> generator = LSTMGenerator(num_words=20, length=3, hidden_dim=8)
        >>> words, z, component = generator.draw(5)
        >>> words.shape, z.shape, generator.log_prob(words, z).shape
        (torch.Size([5, 3]), torch.Size([5, 2]), torch.Size([5]))
    """

    num_words: int = 996
    length: int = 10
    embedding_dim: int = 100
    hidden_dim: int = 100
    output_range: float = 1.0
    seed: int = 0

    @cached_property
    def _weights(self) -> _Weights:
        H = self.hidden_dim
        embedding = self._uniform(0, self.num_words + 1, self.embedding_dim)
        return _Weights(
            initial=self._uniform(1, 2, H),
            embedding=embedding @ self._uniform(2, self.embedding_dim, 4 * H),
            latent=self._uniform(3, 2, 4 * H),
            bias=self._uniform(4, 1, 4 * H)[0],
            recurrent=self._uniform(5, H, 4 * H),
            output=self._uniform(6, H, self.num_words) * self.output_range,
        )

    def _uniform(self, number: int, rows: int, columns: int) -> Tensor:
        row, column = torch.arange(rows).unsqueeze(1), torch.arange(columns)
        return 2 * uniform(Stream.WEIGHTS, self.seed, number, row, column) - 1

    # -- sentences --------------------------------------------------------------------------------------------------

    def draw(self, size: int, *counters: int) -> GeneratedSentences:
        """`size` sentences; the same counters give the same ones, and a larger sample starts with a smaller one."""
        rows = torch.arange(size)
        component = random_words(Stream.LATENTS, self.seed, *counters, 0, rows) & 3
        noise = normal(Stream.LATENTS, self.seed, *counters, 1, rows.unsqueeze(1), torch.arange(2))
        z = MEANS[component] + WIDTH * noise
        chance = uniform(Stream.NOISE, self.seed, *counters, rows.unsqueeze(1), torch.arange(self.length))  # (N, T)
        words = [self._write(*part) for part in _chunks(z, chance)]
        return GeneratedSentences(torch.cat(words), z, component)

    def _write(self, z: Tensor, chance: Tensor) -> Tensor:
        """Words (B, T) for z (B, 2): at each step the one where the distribution function passes `chance` (B, T)."""
        weights, words = self._weights, []
        state, word = self._start(weights, z), torch.full((len(z),), self.num_words)
        for threshold in chance.T.contiguous().unsqueeze(-1):  # (B, 1)
            logits, state = self._step(weights, weights.embedding[word] + z @ weights.latent, state)
            distribution = logits.softmax(-1).cumsum(-1)
            word = torch.searchsorted(distribution, threshold).squeeze(1).clamp(max=self.num_words - 1)
            words.append(word)
        return torch.stack(words, 1)

    def log_prob(self, words: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), for words (B, T) and z (B, 2), in the precision of z."""
        weights = _Weights(*(weight.to(z.dtype) for weight in self._weights))
        return torch.cat([self._score(weights, *part) for part in _chunks(words, z)])

    def _score(self, weights: _Weights, words: Tensor, z: Tensor) -> Tensor:
        from_z, state, total = z @ weights.latent, self._start(weights, z), z.new_zeros(len(z))
        previous = torch.full((len(z),), self.num_words)
        for word in words.unbind(1):
            logits, state = self._step(weights, weights.embedding[previous] + from_z, state)
            total += logits.log_softmax(-1).gather(1, word.unsqueeze(1)).squeeze(1)  # faster than with logsumexp
            previous = word
        return total

    def _start(self, weights: _Weights, z: Tensor) -> tuple[Tensor, Tensor]:
        h = (z @ weights.initial).tanh()
        return h, torch.zeros_like(h)

    def _step(
        self, weights: _Weights, inputs: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits (..., V) of the next word and the next state (..., H); inputs (..., 4H) are added to the gates."""
        h, c = state
        i, f, g, o = (inputs + weights.bias + h @ weights.recurrent).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h @ weights.output, (h, c)

    # -- exact quantities -------------------------------------------------------------------------------------------

    @staticmethod
    def log_prior(z: Tensor) -> Tensor:
        """log p(z) in nats, (...), for z (..., 2)."""
        squared = ((z.unsqueeze(-2) - MEANS.to(z)) / WIDTH).square().sum(-1)  # (..., 4)
        return (-0.5 * squared).logsumexp(-1) - math.log(4 * 2 * math.pi * WIDTH**2)

    def truth(self, words: Tensor, num_cells: int = 24, mesh: int = 3) -> Truth:
        """log p(x) and KL(p(z|x) || p(z)) by the midpoint rule, on a mesh that is finer where a posterior has its mass.

        Args:
            words: (N, T).
            num_cells: number of cells in each dimension of the plane.
            mesh: number of parts that each side of a cell is cut into, where the cell holds posterior mass.
        """
        parts = [self._integrate(part, num_cells, mesh) for part in torch.split(words, 100)]
        return Truth(*map(torch.cat, zip(*parts, strict=True)))

    def _integrate(self, words: Tensor, num_cells: int, mesh: int) -> Truth:
        side = 2 * LIMIT / num_cells
        cells = _midpoints(num_cells, side)  # (G, 2)
        log_prob, log_joint = self._joint(words, cells.expand(len(words), -1, -1), side)  # (N, G)
        scale = log_joint.logsumexp(1, keepdim=True)  # log p(x) already, roughly
        mass = (log_joint - scale).exp()
        moment = mass * log_prob

        row, cell = (mass > NEGLIGIBLE).nonzero(as_tuple=True)  # (P,) cells to be refined
        points = cells[cell].unsqueeze(1) + _midpoints(mesh, side / mesh)  # (P, mesh^2, 2)
        log_prob, log_joint = self._joint(words[row], points, side / mesh)  # (P, mesh^2)
        fine = (log_joint - scale[row]).exp()
        mass[row, cell], moment[row, cell] = fine.sum(1), (fine * log_prob).sum(1)

        total = mass.sum(1)
        log_likelihood = scale.squeeze(1) + total.log()
        return Truth(log_likelihood, moment.sum(1) / total - log_likelihood)

    def _joint(self, words: Tensor, z: Tensor, side: float) -> tuple[Tensor, Tensor]:
        """log p(x|z), and log p(x, z) of a square of this side around z; (P, M), for words (P, T) and z (P, M, 2)."""
        repeated = words.repeat_interleave(z.shape[1], 0)
        log_prob = self.log_prob(repeated, z.flatten(0, 1).float()).double().view(z.shape[:2])
        return log_prob, log_prob + self.log_prior(z) + 2 * math.log(side)


def _chunks(first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of ROWS rows of both."""
    return zip(torch.split(first, ROWS), torch.split(second, ROWS), strict=True)


def _midpoints(count: int, side: float) -> Tensor:
    """Midpoints of count x count squares of this side that fill a square around zero: (count^2, 2)."""
    axis = (torch.arange(count, dtype=torch.double) - (count - 1) / 2) * side
    return torch.cartesian_prod(axis, axis)
