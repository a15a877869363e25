"""An LSTM with random weights that writes sentences from a two-dimensional z: a corpus whose statistics are known.

After the synthetic data of He et al. 2019, *Lagging inference networks* (arXiv:1901.05534): z comes from a mixture of
four Gaussians, enters the initial state and every input of a one-layer LSTM, and the LSTM draws ten words. All weights
are uniform in (-1, 1) here, those of the vocabulary projection in a range of their own, which sets how much a word is
determined by what the LSTM knows; the means of the mixture and its width are ours too.

With two dimensions of z, log p(x) and the information that x holds on z are integrals over a plane: the midpoint rule
gives them to more digits than anyone needs, since its error falls faster than any power of the step once that is
below the width of the posterior p(z|x).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.randomness import Stream, normal, random_words, uniform

MEANS = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.double)
"""Of the four components of p(z), equally likely."""
WIDTH = 0.5
"""Standard deviation of each component."""
REACH = 1.0 + 5 * WIDTH
"""The plane is integrated from -REACH to REACH in both dimensions."""
ROWS = 4096
"""About how many pairs of sentence and z are looked at at once, which bounds the memory."""


class Written(NamedTuple):
    """What a generator wrote: words (N, T) in 0..num_words - 1, their z (N, 2), and its component (N,) in 0..3."""

    words: Tensor
    z: Tensor
    component: Tensor


class Truth(NamedTuple):
    """What is known of sentences, in nats, (N,) float64.

    The mean of `information` over x ~ p(x) is the mutual information I(x; z).
    """

    log_likelihood: Tensor
    """log p(x)."""
    information: Tensor
    """KL(p(z|x) || p(z)), with the exact posterior."""


class _Weights(NamedTuple):
    initial: Tensor  # (2, H): z to h(0)
    embedding: Tensor  # (V + 1, 4H): what each word, and at last the beginning, gives to the gates
    latent: Tensor  # (2, 4H): what z gives to them
    bias: Tensor  # (4H,)
    recurrent: Tensor  # (H, 4H)
    output: Tensor  # (H, V)


@dataclass(frozen=True)
class LSTMGenerator:
    """p(z) and p(x|z), a pure function of these numbers.

    Args:
        num_words: words that it can write.
        length: T, the words of a sentence.
        embedding_dim: size of a word's embedding.
        hidden_dim: units of the LSTM.
        output_range: the weights of the vocabulary projection are uniform in (-output_range, output_range).
        seed: of the weights.

    Example:
        >>> generator = LSTMGenerator(num_words=20, length=3, hidden_dim=8)
        >>> words, z, component = generator.draw(5)
        >>> words.shape, z.shape, generator.log_prob(words, z).shape
        (torch.Size([5, 3]), torch.Size([5, 2]), torch.Size([5, 5]))
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
        places = torch.arange(rows).unsqueeze(1), torch.arange(columns)
        return 2 * uniform(Stream.WEIGHTS, self.seed, number, *places) - 1

    # -- sentences --------------------------------------------------------------------------------------------------

    def draw(self, size: int, *counters: int) -> Written:
        """`size` sentences; the same counters give the same ones, and more of them begin with those of fewer."""
        rows = torch.arange(size)
        component = random_words(Stream.LATENTS, self.seed, *counters, 0, rows) & 3
        noise = normal(Stream.LATENTS, self.seed, *counters, 1, rows.unsqueeze(1), torch.arange(2))
        z = MEANS[component] + WIDTH * noise
        chance = uniform(Stream.NOISE, self.seed, *counters, rows.unsqueeze(1), torch.arange(self.length))  # (N, T)
        words = [self._write(*part) for part in zip(torch.split(z, ROWS), torch.split(chance, ROWS), strict=True)]
        return Written(torch.cat(words), z, component)

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
        """log p(x_n|z_g) in nats of every pair of words (N, T) and z (G, 2): (N, G), in the precision of z."""
        weights = _Weights(*(weight.to(z.dtype) for weight in self._weights))
        from_z, (h, c) = z @ weights.latent, self._start(weights, z)  # (G, 4H), (G, H)
        state = (h.expand(len(words), -1, -1), c)
        total = z.new_zeros(len(words), len(z))
        previous = torch.full((len(words),), self.num_words)
        for word in words.unbind(1):
            logits, state = self._step(weights, weights.embedding[previous].unsqueeze(1) + from_z, state)
            chosen = word.view(-1, 1, 1).expand(-1, len(z), 1)
            total += logits.gather(-1, chosen).squeeze(-1) - logits.logsumexp(-1)
            previous = word
        return total

    def _start(self, weights: _Weights, z: Tensor) -> tuple[Tensor, Tensor]:
        h = (z @ weights.initial).tanh()
        return h, torch.zeros_like(h)

    def _step(
        self, weights: _Weights, inputs: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits (..., V) of the next word and the next state (..., H), for what inputs (..., 4H) add to the gates."""
        h, c = state
        i, f, g, o = (inputs + weights.bias + h @ weights.recurrent).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h @ weights.output, (h, c)

    # -- what is true of them ---------------------------------------------------------------------------------------

    @staticmethod
    def log_prior(z: Tensor) -> Tensor:
        """log p(z) in nats, (G,), for z (G, 2)."""
        squared = ((z.unsqueeze(1) - MEANS.to(z)) / WIDTH).square().sum(-1)  # (G, 4)
        return (-0.5 * squared).logsumexp(-1) - math.log(4 * 2 * math.pi * WIDTH**2)

    def truth(self, words: Tensor, num_points: int = 40) -> Truth:
        """log p(x) and KL(p(z|x) || p(z)) by the midpoint rule on num_points x num_points places of the plane.

        Args:
            words: (N, T).
            num_points: in each dimension.
        """
        step = 2 * REACH / num_points
        axis = (torch.arange(num_points, dtype=torch.double) + 0.5) * step - REACH
        z = torch.cartesian_prod(axis, axis)  # (G, 2)
        log_mass = self.log_prior(z) + 2 * math.log(step)
        likelihoods, information = [], []
        for part in torch.split(words, max(1, ROWS // len(z))):
            log_prob = self.log_prob(part, z.float()).double()  # (B, G)
            log_likelihood = (log_prob + log_mass).logsumexp(1)
            ratio = log_prob - log_likelihood.unsqueeze(1)  # log p(z|x) / p(z)
            likelihoods.append(log_likelihood)
            information.append(((ratio + log_mass).exp() * ratio).sum(1))
        return Truth(torch.cat(likelihoods), torch.cat(information))
