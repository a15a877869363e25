"""Training a convolutional VAE of 32 x 32 colour pictures: our Trainer.fit, a bare loop, and pythae's ResNet VAE.

    python benchmarks/train_resnet.py

Ours are `GroupNormResNetEncoder` and `ResNetDecoder` with skips, of at least as many parameters as pythae's
`Encoder_ResNet_VAE_CIFAR` and `Decoder_ResNet_AE_CIFAR`, which its own trainer trains, where it is installed, with
callbacks and evaluation switched off. All take the embedded patches, the sum of squared errors (ours by a Gaussian
likelihood), and Adam; ours and the bare loop clip gradients, too. They take turns, round by round, each in a process of
its own, and only steps within an epoch are timed; on one thread by the time of the processor, in which other work on
the machine counts less. Ours and the bare loop keep freed memory, as under any Trainer. "convolutions alone" are those
of our networks and their linear layers, forwards and backwards, without norms, likelihood and optimiser.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
from collections.abc import Callable, Sequence

import torch
from contenders import Contender
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import TQDMProgressBar
from step_timing import Stopwatch, clock, timed
from torch import Tensor, nn

from datamodules import PhotoPatchesDataModule
from skipvae import VAE
from skipvae.callbacks import BestAndLast, ImageGrids, LatentPictures
from skipvae.callbacks.run_logger import RunLogger
from skipvae.decoders import ResNetDecoder
from skipvae.encoders import GroupNormResNetEncoder
from skipvae.likelihoods import Gaussian

K = 64
SHAPE = (3, 32, 32)
WARMUP = 3
"""Steps that are not timed."""


def our_model(channels: Sequence[int], compiled: bool = False) -> VAE:
    encoder = GroupNormResNetEncoder(K, SHAPE, channels)
    decoder = ResNetDecoder(K, SHAPE, channels[::-1], skip=True, likelihood=Gaussian())
    return VAE(encoder, decoder, compile=compiled)


def patches(batch_size: int) -> PhotoPatchesDataModule:
    data = PhotoPatchesDataModule(batch_size=batch_size)
    data.setup()
    return data


def ours(
    channels: Sequence[int], batch_size: int, steps: int, precision: str, compiled: bool = False
) -> Callable[[], float]:
    data, model = patches(batch_size), our_model(channels, compiled)

    def measure() -> float:
        watch = Stopwatch(WARMUP, steps)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                logger=RunLogger(folder),
                callbacks=[BestAndLast(), ImageGrids(), LatentPictures(), TQDMProgressBar(25), watch],
                gradient_clip_val=5.0,
                max_steps=WARMUP + steps + 1,
                limit_val_batches=0,
                precision=precision,  # type: ignore[arg-type]
                accelerator="cpu",
                enable_model_summary=False,
            )
            trainer.fit(model, data)
        return watch.seconds

    return measure


def bare(channels: Sequence[int], batch_size: int, steps: int) -> Callable[[], float]:
    data, model = patches(batch_size), our_model(channels)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step(batch: tuple[Tensor, ...]) -> None:
        loss = model.loss(batch[0])["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return lambda: timed(step, data.train_dataloader(), WARMUP, steps)


def convolutions(channels: Sequence[int], batch_size: int, steps: int) -> Callable[[], float]:
    """Those of a step and the linear layers, each by itself: no trainer needs less."""
    model, inputs = our_model(channels), list[tuple[nn.Module, Tensor]]()
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: inputs.append((layer, given[0].detach())))
        for layer in layers
    ]
    model.loss(torch.rand(batch_size, *SHAPE))
    for hook in hooks:
        hook.remove()
    gradients = [torch.rand_like(layer(x)) for layer, x in inputs]

    def step(batch: tuple[Tensor, ...]) -> None:
        for i, ((layer, x), gradient) in enumerate(zip(inputs, gradients, strict=True)):
            x.requires_grad_(i > 0)  # pictures need no gradient
            wanted = [x, *layer.parameters()] if i else [*layer.parameters()]
            torch.autograd.grad(layer(x), wanted, gradient)

    return lambda: timed(step, [()], WARMUP, steps)


def pythae(channels: Sequence[int], batch_size: int, steps: int) -> Callable[[], float]:
    """pythae's own trainer and networks; it is timed by whole epochs, so these have as many steps as are timed."""
    from pythae.data.datasets import BaseDataset  # type: ignore[import-not-found]
    from pythae.models import VAE as PythaeVAE  # type: ignore[import-not-found]  # noqa: N811
    from pythae.models import VAEConfig
    from pythae.models.nn.benchmarks.cifar import (  # type: ignore[import-not-found]
        Decoder_ResNet_AE_CIFAR,
        Encoder_ResNet_VAE_CIFAR,
    )
    from pythae.trainers import BaseTrainer, BaseTrainerConfig  # type: ignore[import-not-found]

    config = VAEConfig(input_dim=SHAPE, latent_dim=K, reconstruction_loss="mse")
    model = PythaeVAE(config, Encoder_ResNet_VAE_CIFAR(config), Decoder_ResNet_AE_CIFAR(config))
    report_sizes(model, our_model(channels))
    train = patches(batch_size).load().train
    size = steps * batch_size
    settings = BaseTrainerConfig(
        tempfile.mkdtemp(),
        per_device_train_batch_size=batch_size,
        num_epochs=1,
        learning_rate=1e-3,
        no_cuda=True,
    )
    trainer = BaseTrainer(model, BaseDataset(train.images[:size] / 255, train.labels[:size]), training_config=settings)
    trainer.prepare_training()

    def measure() -> float:
        started = clock()
        trainer.train_step(1)
        return (clock() - started) / len(trainer.train_loader)

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        measure()  # the first steps are slower
    return measure


def report_sizes(theirs: nn.Module, of_ours: nn.Module) -> None:
    """Both numbers of parameters; ours may not be the smaller one."""
    sizes = [sum(weight.numel() for weight in model.parameters()) for model in (of_ours, theirs)]
    print("parameters: ours {:,}, pythae's {:,}".format(*sizes), flush=True)
    if sizes[0] < sizes[1]:
        raise ValueError("ours would be smaller than pythae's: give wider --channels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 16, 32, 64, 216], help="of our encoder's levels")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10, help="timed steps in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="also train in bf16-mixed, for hardware that has it")
    parser.add_argument("--compile", action="store_true", help="also train with compile: true")
    arguments = parser.parse_args()
    sizes = (arguments.channels, arguments.batch_size, arguments.steps)
    reference = "ours, Trainer.fit"
    made: dict[str, tuple[Callable[..., Callable[[], float]], *tuple[object, ...]]] = {
        reference: (ours, "32-true"),
        "bare loop": (bare,),
        "pythae": (pythae,),
        "convolutions alone": (convolutions,),
    }
    if arguments.bf16:
        made["ours, bf16-mixed"] = (ours, "bf16-mixed")
    if arguments.compile:
        made["ours, compiled"] = (ours, "32-true", True)
    contenders = {}
    for name, (make, *more) in made.items():
        keep = name != "pythae"  # as it would by itself
        with contextlib.suppress(ModuleNotFoundError) if name == "pythae" else contextlib.nullcontext():
            contenders[name] = Contender(make, *sizes, *more, threads=arguments.threads, keep_memory=keep)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name, contender in contenders.items():
            times[name].append(contender.ask("__call__"))
    for contender in contenders.values():
        contender.end()

    print(f"channels {sizes[0]}, batch {sizes[1]}, {arguments.threads} thread(s), torch {torch.__version__}")
    print(
        f"{'':20s}{'images/s':>9s}   relative to pythae's (or ours): median [min..max over {arguments.rounds} rounds]"
    )
    base = times.get("pythae", times[reference])
    for name, values in times.items():
        ratios = [other / value for value, other in zip(values, base, strict=True)]
        rate = arguments.batch_size / statistics.median(values)
        print(f"{name:20s}{rate:9.0f}   {statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]")
    over = [ours / bare - 1 for ours, bare in zip(times[reference], times["bare loop"], strict=True)]
    print(f"ours over the bare loop: {statistics.median(over):+.1%} [{min(over):+.1%}..{max(over):+.1%}]")


if __name__ == "__main__":
    main()
