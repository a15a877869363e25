"""One training step of a SKIP-PixelCNN-VAE: this project's against a straightforward one, side by side in one run.

The straightforward step writes the published layers down as they read: padding layers and crops around every
convolution, a linear map of z for each layer, a sigmoid and then its logarithm, PyTorch's default Adam. Both train the
paper's image model (ResNet encoder 3 x 64, eight gated layers of 32 channels, K = 20, batches of 50) from the same
weights on the same batch; that both give the same log-odds is checked before anything is timed.

    python benchmarks/train_pixelcnn.py                      # CPU; with --processor_time if others use the machine
    python benchmarks/train_pixelcnn.py --device cuda --batch_size 256 --channels_last
    python benchmarks/train_pixelcnn.py --kinds ours "ours, compiled" --rounds 10

Times alternate; a ratio is the median over the rounds against the straightforward step, with the smallest and largest.
"of peak" is the model's arithmetic, counted, over what matrix products of the same number format reach in the same run.
bf16 is left out where its matrix products are slower than those of fp32, unless it is asked for by --kinds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from skipvae.decoders import GatedPixelCNNDecoder
from skipvae.encoders import ResNetEncoder
from skipvae.objectives.elbo import elbo, training_loss

LATENT_DIM, CHANNELS, NUM_LAYERS, KERNEL_SIZE, SIZE = 20, 32, 8, 3, 28
KINDS = ("straightforward", "ours", "ours, compiled", "ours, bf16", "ours, compiled, bf16")


class StraightforwardLayer(nn.Module):
    """A gated layer as one would first write it."""

    def __init__(self, in_channels: int, first: bool) -> None:
        super().__init__()
        reach = KERNEL_SIZE // 2
        self.first = first
        self.v_pad = nn.ConstantPad2d((reach, reach, reach, 0), 0)
        self.v_conv = nn.Conv2d(in_channels, 2 * CHANNELS, (reach + 1, KERNEL_SIZE))
        self.v_shift = nn.ConstantPad2d((0, 0, 1, 0), 0)
        self.vh_conv = nn.Conv2d(2 * CHANNELS, 2 * CHANNELS, 1, bias=False)
        self.h_pad = nn.ConstantPad2d((reach, 0, 0, 0), 0)
        self.h_shift = nn.ConstantPad2d((1, 0, 0, 0), 0)
        self.h_conv = nn.Conv2d(in_channels, 2 * CHANNELS, (1, reach + 1))
        self.h_out = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, v: Tensor, h: Tensor, z_map: Tensor) -> tuple[Tensor, Tensor]:
        v_in, h_in = torch.cat([v, z_map], 1), torch.cat([h, z_map], 1)
        if self.first:  # shifted before the padding, so that the first row still gets the bias
            v_in, h_in = self.v_shift(v_in)[:, :, :-1], self.h_shift(h_in)[:, :, :, :-1]
        v_out = self.v_conv(self.v_pad(v_in))
        h_out = self.h_conv(self.h_pad(h_in)) + self.vh_conv(v_out)
        v_new = torch.tanh(v_out[:, :CHANNELS]) * torch.sigmoid(v_out[:, CHANNELS:])
        h_new = self.h_out(torch.tanh(h_out[:, :CHANNELS]) * torch.sigmoid(h_out[:, CHANNELS:]))
        return v_new, h_new if self.first else h_new + h


class Straightforward(nn.Module):
    """The same decoder as one would first write it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            StraightforwardLayer(1 + (CHANNELS if i else 1), first=i == 0) for i in range(NUM_LAYERS)
        )
        self.z_linears = nn.ModuleList(nn.Linear(LATENT_DIM, SIZE * SIZE) for _ in range(NUM_LAYERS + 1))
        self.output = nn.Conv2d(CHANNELS + 1, 1, 1)

    def logits(self, x: Tensor, z: Tensor) -> Tensor:
        z_maps = [linear(z).view(-1, 1, SIZE, SIZE) for linear in self.z_linears]
        v = h = x
        for layer, z_map in zip(self.layers, z_maps, strict=False):
            v, h = layer(v, h, z_map)
        return self.output(torch.cat([h, z_maps[-1]], 1))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        probability = torch.sigmoid(self.logits(x, z))
        return -F.binary_cross_entropy(probability, x, reduction="none").sum((1, 2, 3))

    def copy(self, decoder: GatedPixelCNNDecoder) -> None:
        """Takes over the weights of ours."""
        for mine, its in zip(self.layers, decoder.layers, strict=True):
            pairs = ((mine.v_conv, its.vertical), (mine.vh_conv, its.down), (mine.h_conv, its.horizontal))
            for to, source in (*pairs, (mine.h_out, its.output)):
                to.load_state_dict(source.state_dict())
        self.output.load_state_dict(decoder.output.state_dict())
        maps = decoder.maps.linear
        for linear, weight, bias in zip(self.z_linears, maps.weight.chunk(9), maps.bias.chunk(9), strict=True):
            linear.load_state_dict({"weight": weight, "bias": bias})


class Trainer:
    """A model of one kind, its optimiser, and its training step."""

    def __init__(self, kind: str, device: str, channels_last: bool, compile_mode: str) -> None:
        torch.manual_seed(0)
        self.kind, self.device = kind, device
        self.encoder = ResNetEncoder(LATENT_DIM, (1, SIZE, SIZE)).to(device)
        decoder = GatedPixelCNNDecoder(LATENT_DIM, (1, SIZE, SIZE), CHANNELS, NUM_LAYERS, KERNEL_SIZE, skip=True)
        self.decoder: GatedPixelCNNDecoder | Straightforward = decoder
        if kind == "straightforward":
            self.decoder = Straightforward()
            self.decoder.copy(decoder)
        self.decoder.to(device)
        if channels_last and kind != "straightforward":
            self.encoder.to(memory_format=torch.channels_last)
            self.decoder.to(memory_format=torch.channels_last)
        if "compiled" in kind:
            self.encoder.compile(mode=compile_mode)
            self.decoder.compile(mode=compile_mode)
        self.parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam(
            self.parameters, lr=1e-3, **({} if kind == "straightforward" else {"fused": True})
        )

    def autocast(self) -> torch.autocast | nullcontext[None]:
        return torch.autocast(self.device, torch.bfloat16) if "bf16" in self.kind else nullcontext()

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        with self.autocast():
            return training_loss(elbo(self.decoder, x, self.encoder(x), noise))

    def step(self, x: Tensor, noise: Tensor) -> None:
        torch.compiler.cudagraph_mark_step_begin()  # for --compile_mode reduce-overhead
        self.optimizer.zero_grad()
        self.loss(x, noise).backward()
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimizer.step()


clock = time.perf_counter


def seconds(device: str, function: Callable[[], object], times: int) -> float:
    """Time of one call, on average over `times`."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    for _ in range(times):
        function()
    if device == "cuda":
        torch.cuda.synchronize()
    return (clock() - start) / times


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product; on CUDA, float32 may use TF32, as convolutions may."""
    n, times = (8192, 5) if device == "cuda" else (768, 1)
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    return 2 * n**3 / min(seconds(device, lambda: a @ b, times) for _ in range(5))


@torch.no_grad()
def compare(x: Tensor, z: Tensor, device: str) -> None:
    """Prints how far apart the log-odds of ours and of the straightforward decoder are, and what bf16 costs."""
    plain, ours, half = (Trainer(kind, device, False, "default") for kind in ("straightforward", "ours", "ours, bf16"))
    tf32 = torch.backends.cudnn.flags(allow_tf32=False) if device == "cuda" else nullcontext()
    with tf32:
        difference = (plain.decoder.logits(x, z) - ours.decoder.logits(x, z)).abs().max().item()
    print(f"largest difference of a log-odds, fp32: {difference:.1e}")
    assert difference < 1e-4, "the two implementations differ"
    losses = [trainer.loss(x, z).item() for trainer in (ours, half)]
    print(f"ELBO of the batch: fp32 {-losses[0]:.3f}, bf16 {-losses[1]:.3f} nats per example\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS[1:], help="what to time beside the straightforward one")
    parser.add_argument("--batch_size", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="per round and kind; default 1 on the CPU, 50 on CUDA")
    parser.add_argument("--channels_last", action="store_true", help="keep our weights in that memory format")
    parser.add_argument("--compile_mode", default="default", help="of torch.compile, such as reduce-overhead")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--processor_time", action="store_true", help="CPU: count processor time, not wall time")
    arguments = parser.parse_args()
    if arguments.processor_time:
        global clock
        clock = time.process_time
    device, steps = arguments.device, arguments.steps or (50 if arguments.device == "cuda" else 1)
    torch.set_num_threads(arguments.threads)

    generator = torch.Generator().manual_seed(0)
    x = torch.rand(arguments.batch_size, 1, SIZE, SIZE, generator=generator).round().to(device)
    noise = torch.randn(arguments.batch_size, LATENT_DIM, generator=generator).to(device)
    name = torch.cuda.get_device_name() if device == "cuda" else f"{arguments.threads} threads"
    print(f"torch {torch.__version__}, {device} ({name}), batches of {arguments.batch_size}, {arguments.rounds} rounds")
    compare(x, noise, device)

    torch.backends.cuda.matmul.allow_tf32 = True
    rates = {"fp32": matrix_rate(device, torch.float32), "bf16": matrix_rate(device, torch.bfloat16)}
    print("matrix products: " + ", ".join(f"{dtype} {rate / 1e9:,.1f} GFLOP/s" for dtype, rate in rates.items()))
    worthwhile = [kind for kind in KINDS[1:] if "bf16" not in kind or rates["bf16"] > rates["fp32"]]
    kinds = ("straightforward", *(arguments.kinds or worthwhile))
    trainers = {kind: Trainer(kind, device, arguments.channels_last, arguments.compile_mode) for kind in kinds}
    with FlopCounterMode(display=False) as counter:
        trainers["straightforward"].step(x, noise)
    operations = counter.get_total_flops()
    for kind, trainer in trainers.items():
        start = seconds(device, lambda step=trainer.step: step(x, noise), 1)
        if "compiled" in kind:
            print(f"first step of {kind}: {start:.0f} s")
        trainer.step(x, noise)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(arguments.rounds):
        for kind, trainer in trainers.items():
            times[kind].append(seconds(device, lambda step=trainer.step: step(x, noise), steps))

    print(f"{operations / len(x) / 1e9:.2f} GFLOP per image, forward and backward")
    print(f"\n{'':22}{'images/s':>10}{'ms/step':>9}{'of peak':>9}{'ratio':>7}")
    for kind, measured in times.items():
        ratios = [slow / fast for slow, fast in zip(times["straightforward"], measured, strict=True)]
        middle = statistics.median(measured)
        share = operations / middle / rates["bf16" if "bf16" in kind else "fp32"]
        print(
            f"{kind:22}{len(x) / middle:10.1f}{1000 * middle:9.1f}{share:9.1%}{statistics.median(ratios):7.2f}"
            f" [{min(ratios):.2f}..{max(ratios):.2f}]"
        )


if __name__ == "__main__":
    main()
