"""Small models that infer by steps, and what is compared between them."""

from typing import Any

import torch

from skipvae import VAE
from skipvae.decoders import Decoder, GatedPixelCNNDecoder, LSTMDecoder, MLPDecoder
from skipvae.encoders import Encoder, LSTMEncoder, MLPEncoder
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from tests.linear_gaussian import LinearGaussianDecoder, LinearGaussianEncoder

THROUGH = ["exact", "finite_difference"]
GRADIENTS = [*THROUGH, "none"]


def ppca(inference: Any, shift: float = 0.5, widen: float = 0.7, n: int = 30) -> tuple[VAE, torch.Tensor]:
    torch.manual_seed(1)
    decoder = LinearGaussianDecoder()
    model = VAE(LinearGaussianEncoder(decoder, shift, widen), decoder, inference)
    with torch.no_grad():
        return model, decoder.sample(torch.randn(n, 2, dtype=torch.double))


def mlp(inference: Any, skip: bool = True, seed: int = 0) -> VAE:
    torch.manual_seed(seed)
    return VAE(
        MLPEncoder(3, (1, 4, 4), hidden_dim=16, num_layers=1),
        MLPDecoder(3, (1, 4, 4), hidden_dim=16, num_layers=2, skip=skip),
        inference,
    )


def pixelcnn(inference: Any) -> VAE:
    torch.manual_seed(0)
    decoder = GatedPixelCNNDecoder(3, (1, 4, 4), channels=4, num_layers=2, skip=True)
    return VAE(MLPEncoder(3, (1, 4, 4), hidden_dim=16), decoder, inference)


def lstm(inference: Any) -> VAE:
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "embedding_dim": 8, "hidden_dim": 8}
    decoder = LSTMDecoder(3, **sizes, dropout=0.3, word_dropout=0.3, skip=True, init_range=0.5)
    return VAE(LSTMEncoder(3, **sizes), decoder, inference)


def gradients(model: VAE, x: torch.Tensor, seed: int = 3) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(seed)
    model.loss(x)["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def relative_error(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    """The largest error of any parameter's gradient, relative to its norm."""
    return max(float((found[name] - wanted[name]).norm() / wanted[name].norm()) for name in wanted)


class Normals(Encoder):
    """Free parameters in place of an encoder."""

    def __init__(self, mean: torch.Tensor, logvar: torch.Tensor) -> None:
        super().__init__()
        self.latent_dim, self.mean, self.logvar = mean.shape[-1], mean, logvar

    def forward(self, x: torch.Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean, self.logvar)


class Smooth(Decoder):
    """x ~ N(tanh(W z), 1 / 16), infinitely differentiable."""

    skip, latent_dim = False, 2

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = weight

    def log_prob(self, x: torch.Tensor, z: torch.Tensor | None) -> Any:
        return -8 * (x - torch.tanh(z @ self.weight)).square().sum(-1)

    def sample(self, z: torch.Tensor | None, **options: Any) -> Any:
        return torch.tanh(z @ self.weight)
