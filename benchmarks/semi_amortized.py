"""One optimiser step of an SA-VAE: against an amortised step, exact against finite differences, and against its limit.

    python benchmarks/semi_amortized.py --decoder mlp pixelcnn lstm
    python benchmarks/semi_amortized.py --device cuda --scale paper

The limit ("bare") is the number of passes through the decoder that the method needs and nothing else: for exact
gradients num_steps times forward, backward to z, and backward through both; for finite differences num_steps times
forward and backward to z, and twice as many times forward and backward to z and to the parameters; for each an
amortised step besides. "published" computes the gradient as the published code does: forward differences with a step
of 1e-5, and the parameters' gradients of every step kept. In float32 much of what they yield is rounding, so they also
run in float64, where they arrive at the same gradient as ours. The gradients are compared first, each with exact ones
in float64; then the time. All take turns, round by round. Where ReLUs have kinks, differences of gradients see
curvature that exact derivatives do not (see `skipvae.inference.likelihood_gradient`), so only smooth decoders agree.
"""

import argparse
import copy
import ctypes
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from skipvae import VAE
from skipvae.decoders import Decoder, GatedPixelCNNDecoder, LSTMDecoder, MLPDecoder
from skipvae.encoders import Encoder, LSTMEncoder, MLPEncoder, ResNetEncoder
from skipvae.inference import Amortized, SemiAmortized, gradient_ascent
from skipvae.inference.likelihood_gradient import LogLikelihood, value_and_grad_z

K = 20
PUBLISHED = {"published": torch.float32, "published, float64": torch.float64}
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "small": {
        "mlp": {"hidden_dim": 512, "batch": 50},
        "pixelcnn": {"channels": 12, "num_layers": 3, "batch": 10},
        "lstm": {"vocab_size": 2000, "embedding_dim": 128, "hidden_dim": 128, "batch": 16, "length": 20},
    },
    "paper": {
        "mlp": {"hidden_dim": 1024, "batch": 50},
        "pixelcnn": {"channels": 32, "num_layers": 8, "batch": 50},
        "lstm": {"vocab_size": 20000, "embedding_dim": 512, "hidden_dim": 1024, "batch": 32, "length": 80},
    },
}


class PublishedGradZ(torch.autograd.Function):
    """grad_z and its derivative by forward differences, with the gradients of the parameters kept."""

    @staticmethod
    def forward(ctx: Any, log_likelihood: LogLikelihood, z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        value, ctx.gradients = PublishedGradZ.gradients(log_likelihood, z)
        ctx.z, ctx.log_likelihood = z.detach(), log_likelihood
        ctx.mark_non_differentiable(value)
        return value, ctx.gradients[0].clone()

    @staticmethod
    def backward(ctx: Any, _: Tensor, u: Tensor) -> Any:
        _, moved = PublishedGradZ.gradients(ctx.log_likelihood, ctx.z + 1e-5 * u)
        return None, *((after - before) / 1e-5 for after, before in zip(moved, ctx.gradients, strict=True))

    @staticmethod
    def gradients(log_likelihood: LogLikelihood, z: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = log_likelihood(z)
            return value.detach(), torch.autograd.grad(value.sum(), [z, *log_likelihood.parameters])


def published_value_and_grad_z(log_likelihood: LogLikelihood, z: Tensor, gradient: str) -> Any:
    if gradient == "none":
        return value_and_grad_z(log_likelihood, z, gradient)
    return PublishedGradZ.apply(log_likelihood, z, *log_likelihood.parameters)


def parts(name: str, scale: str, device: str) -> tuple[Encoder, Decoder, Tensor]:
    sizes = dict(SIZES[scale][name])
    batch = sizes.pop("batch")
    torch.manual_seed(0)
    images = torch.rand(batch, 1, 28, 28).round().to(device)
    if name == "mlp":
        return MLPEncoder(K, **sizes).to(device), MLPDecoder(K, **sizes, skip=True).to(device), images
    if name == "pixelcnn":
        encoder = ResNetEncoder(K, channels=[sizes["channels"]] * 3)
        return encoder.to(device), GatedPixelCNNDecoder(K, **sizes, skip=True).to(device), images
    length = sizes.pop("length")
    tokens = torch.randint(4, sizes["vocab_size"], (batch, length), device=device)
    tokens[:, 0], tokens[:, -1] = 2, 3
    return LSTMEncoder(K, **sizes).to(device), LSTMDecoder(K, **sizes, skip=True).to(device), tokens


def as_published(step: Callable[[], None]) -> Callable[[], None]:
    def published() -> None:
        with mock.patch.object(gradient_ascent, "value_and_grad_z", published_value_and_grad_z):
            step()

    return published


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Images in a precision; tokens as they are."""
    return x.to(dtype) if x.is_floating_point() else x


def bare(decoder: Decoder, x: Tensor, num_steps: int, gradient: str) -> Callable[[], None]:
    parameters = list(decoder.parameters())
    z = torch.randn(len(x), K, device=x.device, requires_grad=True)

    def exact() -> None:
        grad_z = [torch.autograd.grad(decoder(x, z).sum(), z, create_graph=True)[0] for _ in range(num_steps)]
        torch.stack(grad_z).sum().backward()

    def finite_difference() -> None:
        for _ in range(num_steps):
            torch.autograd.grad(decoder(x, z).sum(), z)
        for _ in range(2 * num_steps):
            torch.autograd.grad(decoder(x, z).sum(), [z, *parameters])

    return exact if gradient == "exact" else finite_difference


def optimiser_step(model: VAE, x: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, fused=True)  # so that every round does the same

    def step() -> None:
        optimizer.zero_grad()
        model.loss(x)["loss"].backward()
        optimizer.step()

    return step


def gradient_of(model: VAE, x: Tensor) -> Tensor:
    model.zero_grad()
    torch.manual_seed(0)
    with mock.patch("torch.randn_like", lambda like: torch.randn(like.shape).to(like)):  # the same in every precision
        model.loss(x)["loss"].backward()
    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])


def measure(step: Callable[[], None], device: str) -> tuple[float, float]:
    """Milliseconds and peak memory in MB."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = resident_memory(reset=True)
    start = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else resident_memory()
    return seconds * 1e3, (peak - before) / 2**20


def resident_memory(reset: bool = False) -> float:
    """Peak resident memory in bytes since the last reset; nan where Linux does not say."""
    try:
        if reset:
            ctypes.CDLL("libc.so.6").malloc_trim(0)  # so that what is used again is counted again
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    except OSError:
        return float("nan")


def compare(name: str, arguments: argparse.Namespace) -> None:
    encoder, decoder, x = parts(name, arguments.scale, arguments.device)
    num_steps = arguments.num_steps
    model = {"amortised": VAE(encoder, decoder, Amortized())}
    kinds = {"exact": "exact", "finite differences": "finite_difference"}
    if not decoder.twice_differentiable(x.device):
        del kinds["exact"]
    for label, gradient in kinds.items():
        model[label] = VAE(encoder, decoder, SemiAmortized(num_steps, gradient=gradient))  # type: ignore[arg-type]
    contenders = {label: optimiser_step(vae, x) for label, vae in model.items()}
    for label, gradient in kinds.items():
        contenders[f"bare {label}"] = bare(decoder, x, num_steps, gradient)
    for label, dtype in PUBLISHED.items():
        parts_ = copy.deepcopy(encoder).to(dtype), copy.deepcopy(decoder).to(dtype)
        model[label] = VAE(*parts_, SemiAmortized(num_steps, gradient="finite_difference"))
        contenders[label] = as_published(optimiser_step(model[label], cast(x, dtype)))
    print(
        f"\n{name}, {arguments.scale}, batch {len(x)}, {num_steps} steps, {arguments.device}, torch {torch.__version__}"
    )
    errors = gradient_errors({label: vae for label, vae in model.items() if label != "amortised"}, x, num_steps)
    results: dict[str, list[tuple[float, float]]] = {label: [] for label in contenders}
    for round_ in range(arguments.rounds + 1):
        for label, step in contenders.items():
            result = measure(step, arguments.device)
            if round_:  # the first warms up
                results[label].append(result)
    times = {label: [milliseconds for milliseconds, _ in values] for label, values in results.items()}
    print(f"{'':20s}{'ms':>9s}{'MB':>8s}  {'/ amortised':22s}{'/ its bare passes':22s}{'gradient error':16s}")
    for label in model:
        limit = [a + b for a, b in zip(times["amortised"], times.get(f"bare {label}", []), strict=False)]
        memory = statistics.median(peak for _, peak in results[label])
        print(
            f"{label:20s}{statistics.median(times[label]):9.1f}{memory:8.0f}  "
            f"{ratio(times[label], times['amortised']):22s}{ratio(times[label], limit):22s}"
            f"{errors.get(label, '')}",
            flush=True,
        )
    for label in PUBLISHED:
        print(*(f"{label} / {kind}: {ratio(times[label], times[kind])}" for kind in kinds), sep="; ")


def gradient_errors(model: dict[str, VAE], x: Tensor, num_steps: int) -> dict[str, str]:
    """Norm of the error of each gradient relative to the exact one in float64."""
    vae = model["finite differences"]
    with torch.backends.cudnn.flags(enabled=False):  # whose LSTM has no second derivative
        encoder, decoder = copy.deepcopy(vae.encoder), copy.deepcopy(vae.decoder)
        reference = VAE(encoder, decoder, SemiAmortized(num_steps, gradient="exact")).double().eval()
        truth = gradient_of(reference, cast(x, torch.float64))
    errors = {}
    for label, vae in model.items():
        computes = published_value_and_grad_z if label in PUBLISHED else value_and_grad_z
        with mock.patch.object(gradient_ascent, "value_and_grad_z", computes):
            error = gradient_of(vae.eval(), cast(x, next(vae.parameters()).dtype)) - truth
        errors[label] = f"{float(error.norm() / truth.norm()):.1e}"
        vae.train()
    return errors


def ratio(times: list[float], reference: list[float]) -> str:
    if not reference:
        return ""
    ratios = [a / b for a, b in zip(times, reference, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--decoder", nargs="+", choices=["mlp", "pixelcnn", "lstm"], default=["mlp", "pixelcnn", "lstm"]
    )
    parser.add_argument("--scale", choices=list(SIZES), default="small", help="of the networks and batches")
    parser.add_argument("--num_steps", type=int, default=10, help="the paper takes 20")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.decoder:
        compare(name, arguments)


if __name__ == "__main__":
    main()
