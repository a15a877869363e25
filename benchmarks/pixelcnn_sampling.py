"""Sampling from a Gated PixelCNN: row and pixel caches against one full pass for every pixel, side by side in one run.

    python benchmarks/pixelcnn_sampling.py                   # 16 images of 28 x 28, eight layers of 32 channels
    python benchmarks/pixelcnn_sampling.py --device cuda --images 64
    python benchmarks/pixelcnn_sampling.py --full            # also draws with all 784 passes, which takes minutes

The naive loop is timed by a few of its passes, since all take equally long. That it would draw the same images needs
one pass more: given the images drawn, each pixel must again be its own draw for the same noise. By induction over the
pixels the naive loop then draws these images and no others. `--full` runs the loop to the end instead.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from skipvae.decoders import GatedPixelCNNDecoder


def seconds(device: str, function: Callable[[], object]) -> float:
    """Wall time of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


@torch.no_grad()
def sample_naively(decoder: GatedPixelCNNDecoder, z: Tensor, noise: Tensor, pixels: int) -> Tensor:
    """The first `pixels` pixels, by one pass over the whole image for each."""
    x = torch.zeros_like(noise)
    channels, height, width = decoder.image_shape
    order = itertools.product(range(height), range(width), range(channels))
    for i, j, c in itertools.islice(order, pixels):
        probability = decoder.logits(x, z)[:, c, i, j].sigmoid()
        x[:, c, i, j] = (noise[:, c, i, j] < probability).to(x.dtype)
    return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--num_layers", type=int, default=8)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=10, help="passes of the naive loop that a round times")
    parser.add_argument("--full", action="store_true", help="run the naive loop to the end, once")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, size = arguments.device, arguments.size
    passes = size * size

    torch.backends.cudnn.allow_tf32 = False  # rounds, so that pixels would differ
    torch.manual_seed(0)
    decoder = GatedPixelCNNDecoder(20, (1, size, size), arguments.channels, arguments.num_layers, skip=True).to(device)
    z = torch.randn(arguments.images, 20, device=device)
    noise = torch.rand(arguments.images, 1, size, size, generator=torch.Generator(device).manual_seed(0), device=device)

    def sample() -> Tensor:
        return decoder.sample(z, generator=torch.Generator(device).manual_seed(0))

    images = sample()
    sample_naively(decoder, z, noise, pixels=2)
    naive, cached = [], []
    for _ in range(arguments.rounds):
        naive.append(seconds(device, lambda: sample_naively(decoder, z, noise, arguments.passes)) / arguments.passes)
        cached.append(seconds(device, sample))
    ratios = [passes * slow / fast for slow, fast in zip(naive, cached, strict=True)]
    with torch.no_grad():
        differing = ((noise < decoder.logits(images, z).sigmoid()).to(images.dtype) != images).sum().item()

    print(
        f"{arguments.images} images of {size} x {size}, {arguments.num_layers} layers of {arguments.channels} channels,"
    )
    print(f"torch {torch.__version__}, {device}, {arguments.threads} threads, {arguments.rounds} rounds\n")
    print(f"naive, {passes} passes   {passes * statistics.median(naive):9.2f} s   (from {arguments.passes} per round)")
    print(f"cached               {statistics.median(cached):9.2f} s")
    print(f"ratio                {statistics.median(ratios):9.0f}     [{min(ratios):.0f}..{max(ratios):.0f}]")
    print(f"differing pixels     {differing:9d}     of {images.numel()}, of which {images.mean():.0%} are 1")
    if arguments.full:
        drawn: list[Tensor] = []
        duration = seconds(device, lambda: drawn.append(sample_naively(decoder, z, noise, passes)))
        print(f"naive, to the end    {duration:9.2f} s   differing pixels {(drawn[0] != images).sum().item()}")


if __name__ == "__main__":
    main()
