"""Probabilistic PCA, where likelihood, posterior and mutual information have closed forms."""

import torch
from torch import Tensor

from skipvae.decoders import Decoder
from skipvae.encoders import Encoder
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class LinearGaussianDecoder(Decoder):
    """x ~ N(W z + b, s^2 I) with orthogonal columns in W, so that the exact posterior is a diagonal Gaussian."""

    def __init__(self, latent_dim: int = 2, data_dim: int = 5, noise: float = 0.7, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        basis, _ = torch.linalg.qr(torch.randn(data_dim, latent_dim, generator=generator, dtype=torch.double))
        self.weight = torch.nn.Parameter(basis * torch.linspace(1.5, 0.5, latent_dim, dtype=torch.double))
        self.bias = torch.nn.Parameter(torch.randn(data_dim, generator=generator, dtype=torch.double))
        self.latent_dim, self.noise, self.skip = latent_dim, noise, False

    def log_prob(self, x: Tensor, z: Tensor | None) -> Tensor:
        mean = z @ self.weight.T + self.bias
        return torch.distributions.Normal(mean, self.noise).log_prob(x).sum(-1)

    def sample(self, z: Tensor | None, **options: object) -> Tensor:
        mean = z @ self.weight.T + self.bias
        return mean + self.noise * torch.randn_like(mean)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """The exact log p(x), (B,)."""
        covariance = self.weight @ self.weight.T + self.noise**2 * torch.eye(len(self.bias), dtype=torch.double)
        return torch.distributions.MultivariateNormal(self.bias, covariance).log_prob(x)

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        """The exact p(z|x)."""
        precision = self.weight.square().sum(0) / self.noise**2 + 1
        mean = (x - self.bias) @ self.weight / self.noise**2 / precision
        return DiagonalGaussian(mean, (-precision.log()).expand_as(mean))


class LinearGaussianEncoder(Encoder):
    """The exact posterior of a `LinearGaussianDecoder`, shifted and widened by constants."""

    def __init__(self, decoder: LinearGaussianDecoder, shift: float = 0.0, widen: float = 0.0) -> None:
        super().__init__()
        object.__setattr__(self, "decoder", decoder)  # not a submodule: its weights are the decoder's
        self.latent_dim, self.shift, self.widen = decoder.latent_dim, shift, widen

    def forward(self, x: Tensor) -> DiagonalGaussian:
        exact = self.decoder.posterior(x)
        return DiagonalGaussian(exact.mean + self.shift, exact.logvar + self.widen)
