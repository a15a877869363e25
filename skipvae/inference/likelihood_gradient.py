"""The gradient of log p(x|z) by z, and the ways to differentiate it once more.

Inference by gradient steps needs the former at every step; an encoder that learns through the steps needs the latter.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

from skipvae.decoders.base import Decoder
from skipvae.nn.evaluation_mode import evaluation_mode

Gradient = Literal["exact", "finite_difference", "none"]


class LogLikelihood:
    """z -> log p(x|z) of a batch: the same function at every call, with one mode, one dropout mask and one precision.

    Args:
        decoder: log p(x|z).
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
        """What can be learnt."""
        return [parameter for parameter in self.decoder.parameters() if parameter.requires_grad]


def score(log_likelihood: LogLikelihood, z: Tensor, gradient: Gradient) -> tuple[Tensor, Tensor]:
    """log p(x|z), (B,), as a constant, and its gradient by z, (B, K).

    Args:
        log_likelihood: z -> log p(x|z).
        z: (B, K).
        gradient: how the score can be differentiated by z and by the parameters of the decoder. "exact" keeps the
            graph; "finite_difference" keeps z alone and takes central differences of gradients in the backward pass,
            which works where there is no second derivative and needs memory for one step at a time; "none": it is
            a constant. The two agree for smooth decoders; at the kinks of a ReLU, differences see the curvature that
            the exact derivative, zero almost everywhere, does not.
    """
    if gradient == "exact":
        return _score(log_likelihood, z if z.requires_grad else z.requires_grad_(), create_graph=True)
    if gradient == "finite_difference":
        return _DifferencedScore.apply(log_likelihood, z, *log_likelihood.parameters)  # type: ignore[no-any-return]
    return _constant_score(log_likelihood, z)


def _constant_score(log_likelihood: LogLikelihood, z: Tensor) -> tuple[Tensor, Tensor]:
    with frozen(log_likelihood.parameters):
        return _score(log_likelihood, z.detach().requires_grad_(), create_graph=False)


def _score(log_likelihood: LogLikelihood, z: Tensor, create_graph: bool) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        value = log_likelihood(z)
        with torch.autocast(z.device.type, enabled=False):  # the types are those of the forward pass
            (gradient,) = torch.autograd.grad(value.sum(), z, create_graph=create_graph)
    return value.detach(), gradient


class _DifferencedScore(torch.autograd.Function):
    """The score, and its products with a vector u: the gradient of u . score by z and by the parameters."""

    @staticmethod
    def forward(ctx: Any, log_likelihood: LogLikelihood, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = _constant_score(log_likelihood, z)
        ctx.save_for_backward(z)
        ctx.log_likelihood = log_likelihood
        ctx.mark_non_differentiable(value)
        return value, gradient

    @staticmethod
    def backward(ctx: Any, _: Tensor, u: Tensor) -> tuple[Tensor | None, ...]:
        (z,), log_likelihood = ctx.saved_tensors, ctx.log_likelihood
        # The best step for central differences: their error falls with its square, that of rounding grows with 1/step.
        step = torch.finfo(z.dtype).eps ** (1 / 3)
        length = u.norm(dim=-1, keepdim=True)  # (B, 1)
        direction = u / length.clamp(min=torch.finfo(u.dtype).tiny)
        z = torch.where(length > 0, z, 0.0)  # where nothing is asked, nothing can be infinite
        total: list[Tensor | None] = [None] * (1 + len(log_likelihood.parameters))
        with torch.enable_grad(), full_precision(z.device):
            for side in (step, -step):
                there = (z + side * direction).detach().requires_grad_()
                objective = (length.squeeze(-1) / (2 * side) * log_likelihood(there)).sum()
                gradients = torch.autograd.grad(objective, [there, *log_likelihood.parameters], allow_unused=True)
                total = [b if a is None else a + b for a, b in zip(total, gradients, strict=True)]
        return None, *total


@contextmanager
def frozen(parameters: list[Tensor]) -> Iterator[None]:
    """No gradients of these, so that operators that compute all gradients at once know which are not asked for."""
    # What was computed from parameters, or in inference mode, has a flag that cannot be set: it costs the time.
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
    """Random numbers from a seed of their own; those outside go on as if nothing had happened."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
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
    """No autocast and no TF32: differences of nearby gradients would be differences of their rounding."""
    cudnn = torch.backends.cudnn
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            stack.enter_context(
                cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False)
            )
        yield
