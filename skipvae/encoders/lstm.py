"""The paper's text encoder: an LSTM."""

import torch
from torch import Tensor, nn

from skipvae.encoders.base import Encoder
from skipvae.nn.initialization import uniform
from skipvae.nn.lstm import LSTM
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from skipvae.text.tokens import check_tokens, check_vocab_size, lengths


class LSTMEncoder(Encoder):
    """(mean, logvar) = W h_n + b, for the last LSTM layer's state h_n after the EOS of the sentence.

    The LSTM also runs over the padding after it, whose states are not used: no sentence depends on how far its batch
    was padded. (A packed sequence would make every step wait for the lengths.)

    Args:
        latent_dim: size K of z.
        vocab_size: number V of token ids, special tokens included.
        embedding_dim: size of an embedding.
        hidden_dim: units H of each LSTM layer.
        num_layers: number of LSTM layers.
        recompute: see `skipvae.nn.lstm.LSTM`; less memory for more time.
        init_range: parameters start uniform in (-init_range, init_range).
        embedding_range: the same for the embeddings; None for init_range.
        posterior_bias: whether there is a bias b. The encoder of He et al. (2019) has none, init_range 0.01 and
            embedding_range 0.1.

    Raises:
        ValueError: if vocab_size is below 1; in `forward`, if the tokens do not fit the vocabulary.

    Source: Dieng et al. 2019 (arXiv:1807.04863), section 4.

    Example:
        >>> encoder = LSTMEncoder(latent_dim=2, vocab_size=10, embedding_dim=4, hidden_dim=8)
        >>> encoder(torch.tensor([[2, 7, 8, 3], [2, 7, 3, 0]])).mean.shape
        torch.Size([2, 2])
    """

    def __init__(
        self,
        latent_dim: int = 32,
        *,
        vocab_size: int,
        embedding_dim: int = 512,
        hidden_dim: int = 1024,
        num_layers: int = 1,
        recompute: bool = False,
        init_range: float = 0.1,
        embedding_range: float | None = None,
        posterior_bias: bool = True,
    ) -> None:
        super().__init__()
        self.latent_dim, self.vocab_size = latent_dim, check_vocab_size(vocab_size)
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = LSTM(embedding_dim, hidden_dim, num_layers, recompute)
        self.posterior = nn.Linear(hidden_dim, 2 * latent_dim, bias=posterior_bias)
        uniform(self, init_range, embedding_range)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x), parameters (B, K), for token ids x (B, T)."""
        check_tokens(x, self.vocab_size)
        hidden, _ = self.lstm(self.embedding(x))  # (B, T, H)
        last = lengths(x).sub(1).clamp(min=0)
        final = hidden[torch.arange(x.shape[0], device=x.device), last]  # (B, H)
        return DiagonalGaussian.from_parameters(self.posterior(final))
