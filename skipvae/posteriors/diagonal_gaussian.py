"""The approximate posterior q(z|x): a Gaussian with a diagonal covariance."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class DiagonalGaussian:
    """q(z|x) = N(mean, diag(sigma^2)), one for each example, with logvar = log sigma^2.

    Args:
        mean: (B, K).
        logvar: (B, K).

    Example:
        >>> q = DiagonalGaussian(torch.zeros(3, 2), torch.zeros(3, 2))
        >>> q.rsample().shape, q.log_prob(torch.zeros(3, 2)).shape, q.kl().sum().item()
        (torch.Size([3, 2]), torch.Size([3]), 0.0)
    """

    mean: Tensor
    logvar: Tensor

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> "DiagonalGaussian":
        """The Gaussian of parameters (B, 2K), mean before logvar; float32 at least, whatever autocast computed."""
        if parameters.dtype in (torch.bfloat16, torch.float16):
            parameters = parameters.float()
        mean, logvar = parameters.chunk(2, dim=-1)
        return cls(mean, logvar)

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        """The reparameterised sample z = mean + sigma noise (Kingma & Welling 2014, section 2.4).

        Args:
            noise: standard normal, (B, K); drawn here when not given.

        Returns:
            (B, K).
        """
        noise = torch.randn_like(self.mean) if noise is None else noise
        return torch.addcmul(self.mean, (0.5 * self.logvar).exp(), noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z|x) = -1/2 sum_k ((z_k - mean_k)^2 / sigma_k^2 + logvar_k + log 2 pi) in nats, (B,), for z (B, K)."""
        squared = ((z - self.mean) * (-0.5 * self.logvar).exp()).square()  # 1 / sigma^2 would overflow much sooner
        return -0.5 * (squared + self.logvar + LOG_2PI).sum(-1)

    def kl(self) -> Tensor:
        """KL(q(z_k|x) || N(0, 1)) = 1/2 (mean_k^2 + sigma_k^2 - 1 - logvar_k) in nats, (B, K).

        Source: Kingma & Welling 2014 (arXiv:1312.6114), appendix B.
        """
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar)

    def repeat(self, num_samples: int) -> "DiagonalGaussian":
        """The same posterior num_samples times, sample-major: (S * B, K)."""
        return DiagonalGaussian(self.mean.repeat(num_samples, 1), self.logvar.repeat(num_samples, 1))


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) in nats, (B,), for z (B, K): the prior p(z)."""
    return -0.5 * (z.square() + LOG_2PI).sum(-1)


def divergence(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """KL(q || p) = 1/2 sum_k (log sigma_p^2 - log sigma_q^2 + (sigma_q^2 + (mean_q - mean_p)^2) / sigma_p^2 - 1).

    Returns:
        (B,) nats.
    """
    squared = (q.logvar.exp() + (q.mean - p.mean).square()) * (-p.logvar).exp()
    return 0.5 * (p.logvar - q.logvar + squared - 1.0).sum(-1)
