"""Rules of gradient ascent on the ELBO in the parameters lambda = (mean, logvar) of q(z|x).

A rule has two formulas, with one sample z = mean + sigma noise: the gradient g of the bound of each example, given
grad_z, the gradient of log p(x|z) w.r.t. z; and step(g), which momentum and learning rate then act on (see
`skipvae.inference.gradient_ascent`).

`benchmarks/refinement_rules.py` measures the two side by side: the bound along the steps and after training, and the
time of a training step, which is the same.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class Rule(ABC):
    """The gradient and the step.

    Attributes:
        rate: factor of the learning rate.
        limit: bound of the absolute mean and log-variance: beyond, the example has diverged.
    """

    rate: float
    limit: float

    @abstractmethod
    def gradient(self, q: DiagonalGaussian, noise: Tensor, grad_z: Tensor, beta: float) -> Tensor:
        """The gradient g of log p(x|z) - beta KL(q || p) of each example w.r.t. (mean, logvar).

        Args:
            q: N(mean, sigma^2), parameters (B, K).
            noise: standard normal, (B, K).
            grad_z: the gradient of log p(x|z) w.r.t. z, (B, K).
            beta: weight of the KL.

        Returns:
            (B, 2K), that w.r.t. the mean before that w.r.t. logvar.
        """

    @abstractmethod
    def step(self, q: DiagonalGaussian, gradient: Tensor, max_grad_norm: float) -> Tensor:
        """step(g), clipped.

        Args:
            q: the posterior at which the gradient was taken, parameters (B, K).
            gradient: g, (B, 2K).
            max_grad_norm: the norm at which it is clipped.

        Returns:
            (B, 2K).
        """


class NaturalGradient(Rule):
    """Ours: a tenth of the natural gradient, clipped example by example.

        along_path = grad_z + beta (noise / sigma - z)     of log p(x|z) + beta (log p(z) - log q(z)) w.r.t. z
        gradient   = (along_path, sigma noise along_path / 2)
        step       = (sigma^2 along_path, sigma noise along_path), scaled down to max_grad_norm where it is longer

    The gradient follows the path of the sample and leaves out the score of q, the gradient of log q w.r.t. lambda at a
    fixed z, whose mean is zero: so its noise vanishes where q is the exact posterior (Roeder et al. 2017,
    arXiv:1703.09194). The step is the natural gradient (Amari 1998): the gradient divided by the Fisher information of
    Gaussians, (1 / sigma^2, 1/2). So the same learning rate fits posteriors of any width, and the posterior of an
    example depends neither on its batch nor on the number of processes. Without noise, the whole natural gradient would
    lead to the mean of a Gaussian posterior in one step; with noise, a tenth of it averages over some steps, and with a
    momentum of 0.5 it is almost critically damped: the best fixed factor of those that were tried on digits.
    """

    rate, limit = 0.1, 20.0

    def gradient(self, q: DiagonalGaussian, noise: Tensor, grad_z: Tensor, beta: float) -> Tensor:
        """See the class."""
        sigma = (0.5 * q.logvar).exp()
        along_path = grad_z + beta * (noise / sigma - q.rsample(noise))
        return torch.cat([along_path, 0.5 * sigma * noise * along_path], -1)

    def step(self, q: DiagonalGaussian, gradient: Tensor, max_grad_norm: float) -> Tensor:
        """See the class."""
        grad_mean, grad_logvar = gradient.chunk(2, -1)
        step = torch.cat([q.logvar.exp() * grad_mean, 2.0 * grad_logvar], -1)
        squared = step.square().sum(-1, keepdim=True)
        return step * (max_grad_norm * squared.clamp(min=max_grad_norm**2).rsqrt())


class PublishedGradient(Rule):
    """The rule of the published code of Kim et al. (2018) and Dieng et al. (2019).

        gradient = (grad_z - beta mean, sigma noise grad_z / 2 - beta (sigma^2 - 1) / 2)
        step = gradient / B; its mean's part and its logvar's part are each multiplied by
               c = max_grad_norm / (norm + 1e-6) if c < 1, by the norm of the whole batch's part (B, K)

    So the step is along the gradient of the batch mean of the bound, and that of an example depends on its batch. Mean
    and log-variance are not bounded.
    """

    rate, limit = 1.0, torch.inf

    def gradient(self, q: DiagonalGaussian, noise: Tensor, grad_z: Tensor, beta: float) -> Tensor:
        """See the class."""
        sigma = (0.5 * q.logvar).exp()
        grad_mean = grad_z - beta * q.mean
        grad_logvar = 0.5 * (sigma * noise * grad_z - beta * (q.logvar.exp() - 1.0))
        return torch.cat([grad_mean, grad_logvar], -1)

    def step(self, q: DiagonalGaussian, gradient: Tensor, max_grad_norm: float) -> Tensor:
        """See the class."""
        return torch.cat([self._clip(part, max_grad_norm) for part in (gradient / len(gradient)).chunk(2, -1)], -1)

    @staticmethod
    def _clip(part: Tensor, max_grad_norm: float) -> Tensor:
        squared = part.square().sum()
        clips = squared.detach().sqrt() + 1e-6 > max_grad_norm
        norm = torch.where(clips, squared, 1.0).sqrt()  # the root has no derivative at 0
        return part * torch.where(clips, max_grad_norm / (norm + 1e-6), 1.0)


RULES: dict[str, Rule] = {"natural": NaturalGradient(), "published": PublishedGradient()}
"""Rules by the names that a config gives them."""
