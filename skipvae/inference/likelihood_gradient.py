"""The gradient of log p(x|z) w.r.t. z, and the ways to differentiate it once more.

Gradient ascent needs the gradient at every step; an encoder that is trained through the steps needs its derivatives.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

from skipvae.compatibility import noise_generators
from skipvae.decoders.base import Decoder
from skipvae.nn.evaluation_mode import evaluation_mode

SecondDerivative = Literal["exact", "finite_difference", "none"]
"""How grad_z can be differentiated w.r.t. z and the parameters of the decoder.

- "exact" keeps the graph of the gradient.
- "finite_difference" keeps z alone and takes central differences of gradients in the backward pass: it works where
  there is no second derivative and needs memory for one step at a time. The two agree for smooth decoders; at the kinks
  of a ReLU, differences see the curvature that the exact derivative, zero almost everywhere, does not.
- "none": grad_z is a constant.
"""


class LogLikelihood:
    """z -> log p(x|z) of a batch: the same function at every call, with one mode and one dropout mask.

    Args:
        decoder: p(x|z).
        x: (B, ...).
    """

    def __init__(self, decoder: Decoder, x: Tensor) -> None:
        self.decoder, self.x = decoder, x
        self.seed = int(torch.randint(2**62, (), device="cpu")) if decoder.training else None

    def __call__(self, z: Tensor) -> Tensor:
        """log p(x|z) in nats, (B,), for z (B, K)."""
        if self.seed is None:
            # A backward pass may come after an evaluation has ended, when the decoder is in training mode again.
            with evaluation_mode(self.decoder) if self.decoder.training else nullcontext():
                return self.decoder(self.x, z)  # type: ignore[no-any-return]
        with seeded(self.seed, z.device):
            return self.decoder(self.x, z)  # type: ignore[no-any-return]

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters of the decoder that are trained."""
        return [parameter for parameter in self.decoder.parameters() if parameter.requires_grad]


def value_and_grad_z(
    log_likelihood: LogLikelihood, z: Tensor, second_derivative: SecondDerivative
) -> tuple[Tensor, Tensor]:
    """log p(x|z), (B,) nats, a constant, and its gradient grad_z w.r.t. z, (B, K).

    Args:
        log_likelihood: z -> log p(x|z).
        z: (B, K).
        second_derivative: how grad_z can be differentiated.
    """
    if second_derivative == "exact":
        return _value_and_grad_z(log_likelihood, z if z.requires_grad else z.requires_grad_(), create_graph=True)
    if second_derivative == "finite_difference":
        return _FiniteDifference.apply(log_likelihood, z, *log_likelihood.parameters)  # type: ignore[no-any-return]
    return _constant_value_and_grad_z(log_likelihood, z)


def _constant_value_and_grad_z(log_likelihood: LogLikelihood, z: Tensor) -> tuple[Tensor, Tensor]:
    with frozen(log_likelihood.parameters):
        return _value_and_grad_z(log_likelihood, z.detach().requires_grad_(), create_graph=False)


def _value_and_grad_z(log_likelihood: LogLikelihood, z: Tensor, create_graph: bool) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        value = log_likelihood(z)
        with torch.autocast(z.device.type, enabled=False):  # the types are those of the forward pass
            (grad_z,) = torch.autograd.grad(value.sum(), z, create_graph=create_graph)
    return value.detach(), grad_z


class _FiniteDifference(torch.autograd.Function):
    """log p(x|z) and grad_z, whose backward pass takes central differences.

    Given u (B, K), the gradient of the loss w.r.t. grad_z, a backward pass returns the gradients of u . grad_z w.r.t. z
    and the parameters. With v = u / |u|, this product is a derivative of log p(x|z) in the direction of v:

        u . grad_z  =  |u| d/ds log p(x|z + s v) at s = 0
                    ~  |u| / (2 s) (log p(x|z + s v) - log p(x|z - s v))

    so its gradients are those of log p(x|.) at two points near z, which need no second derivative.
    """

    @staticmethod
    def forward(ctx: Any, log_likelihood: LogLikelihood, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        value, grad_z = _constant_value_and_grad_z(log_likelihood, z)
        ctx.save_for_backward(z)
        ctx.log_likelihood = log_likelihood
        ctx.mark_non_differentiable(value)
        return value, grad_z

    @staticmethod
    def backward(ctx: Any, _: Tensor, u: Tensor) -> tuple[Tensor | None, ...]:
        (z,), log_likelihood = ctx.saved_tensors, ctx.log_likelihood
        # The best s for central differences: their error falls with s^2, that of rounding grows with 1/s.
        s = torch.finfo(z.dtype).eps ** (1 / 3)
        norm = u.norm(dim=-1, keepdim=True)  # |u|, (B, 1)
        v = u / norm.clamp(min=torch.finfo(u.dtype).tiny)
        z = torch.where(norm > 0, z, 0.0)  # a diverged example has u = 0; its z must not make the sum infinite
        gradients: list[Tensor | None] = [None] * (1 + len(log_likelihood.parameters))
        with torch.enable_grad(), full_precision(z.device):
            for signed in (s, -s):
                nearby = (z + signed * v).detach().requires_grad_()
                term = (norm.squeeze(-1) / (2 * signed) * log_likelihood(nearby)).sum()
                new = torch.autograd.grad(term, [nearby, *log_likelihood.parameters], allow_unused=True)
                gradients = [b if a is None else a + b for a, b in zip(gradients, new, strict=True)]
        return None, *gradients


@contextmanager
def frozen(parameters: list[Tensor]) -> Iterator[None]:
    """A context without gradients of these parameters, so that operators do not compute them along with others."""
    # The flag of computed parameters (hypernetworks), or of those made in inference mode, cannot be set.
    leaves = [parameter for parameter in parameters if parameter.is_leaf and not parameter.is_inference()]
    try:
        for leaf in leaves:
            leaf.requires_grad_(False)
        yield
    finally:
        for leaf in leaves:
            leaf.requires_grad_(True)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """A context with random numbers from this seed; afterwards the generators continue from their state before."""
    generators = noise_generators(device)
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """A context without autocast and TF32: differences of nearby values would be differences of their rounding."""
    cudnn = torch.backends.cudnn
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            stack.enter_context(
                cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False)
            )
        yield
