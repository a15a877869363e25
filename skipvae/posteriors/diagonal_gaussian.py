"""The approximate posterior q(z|x): a Gaussian with a diagonal covariance."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class DiagonalGaussian:
    """N(mean, diag(exp(logvar))), one for each example.

    Args:
        mean: (B, K).
        logvar: (B, K), the logarithm of the variance.

    Example:
        >>> q = DiagonalGaussian(torch.zeros(3, 2), torch.zeros(3, 2))
        >>> q.rsample().shape, q.log_prob(torch.zeros(3, 2)).shape, q.kl().sum().item()
        (torch.Size([3, 2]), torch.Size([3]), 0.0)
    """

    mean: Tensor
    logvar: Tensor

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> "DiagonalGaussian":
        """Splits (B, 2K) into mean and log-variance; in float32 at least, whatever autocast computed them in."""
        if parameters.dtype in (torch.bfloat16, torch.float16):
            parameters = parameters.float()
        mean, logvar = parameters.chunk(2, dim=-1)
        return cls(mean, logvar)

    def rsample(self, noise: Tensor | None = None) -> Tensor:
        """A reparameterised sample (B, K); `noise` (B, K) is standard normal, drawn here when not given."""
        noise = torch.randn_like(self.mean) if noise is None else noise
        return torch.addcmul(self.mean, (0.5 * self.logvar).exp(), noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z|x) in nats, (B,), for z (B, K)."""
        squared = ((z - self.mean) * (-0.5 * self.logvar).exp()).square()  # 1 / variance would overflow much sooner
        return -0.5 * (squared + self.logvar + LOG_2PI).sum(-1)

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, I)) of each dimension in nats, (B, K) (Kingma & Welling 2014, appendix B)."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar)

    def repeat(self, num_samples: int) -> "DiagonalGaussian":
        """The same posterior num_samples times, sample-major: (S * B, K)."""
        return DiagonalGaussian(self.mean.repeat(num_samples, 1), self.logvar.repeat(num_samples, 1))

    def detach(self) -> "DiagonalGaussian":
        """The same numbers, cut off from the graph."""
        return DiagonalGaussian(self.mean.detach(), self.logvar.detach())


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) in nats, (B,), for z (B, K): the prior p(z)."""
    return -0.5 * (z.square() + LOG_2PI).sum(-1)
