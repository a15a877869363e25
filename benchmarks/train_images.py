"""Training a VAE with fully connected networks: our Trainer.fit beside a bare loop, plain Lightning, and its peers.

    python benchmarks/train_images.py --hidden_dim 1024 --batch_size 50

All contenders train networks of the same size on the same grey digits, binarised anew at every batch, with Adam and
gradient norms clipped at 5. They take turns, round by round, each in a process of its own, and only steps within an
epoch are timed; on one thread by the time of the processor, in which other work on the machine counts less. Ours runs
with the default logger, progress bar, checkpoints and pictures, and keeps freed memory, as under any Trainer; so does
the bare loop, its floor. The others treat memory as the system is used to, unless `--keep_memory`. "plain Lightning"
trains our model and optimiser as one would first write it: a DataLoader over a TensorDataset, every term logged at
every step and by epoch, Lightning's own logger, progress bar and checkpoints. "published style" is plain PyTorch;
pythae takes part where it is installed, by whole epochs of its own trainer. "matrix products alone" is what no trainer
could go below. The overhead of a Trainer hardly depends on the networks: small ones show it (`--hidden_dim 64`).
"""

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Callable

import torch
import torch.nn.functional as F
from contenders import Contender
from published_vae import K, Published, pythae
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar
from step_timing import Stopwatch, timed
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from datamodules import MNISTDigitsDataModule
from datamodules.images import Examples, Splits
from skipvae import VAE
from skipvae.callbacks import BestAndLast, ImageGrids, LatentPictures, LinearKLAnnealing
from skipvae.callbacks.run_logger import RunLogger
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder

WARMUP = 10
"""Steps that are not timed."""


def our_model(hidden: int) -> VAE:
    return VAE(MLPEncoder(K, hidden_dim=hidden), MLPDecoder(K, hidden_dim=hidden))


class Digits(MNISTDigitsDataModule):
    """The embedded digits, repeated until an epoch has as many as MNIST's 50,000."""

    def load(self) -> Splits:
        splits = super().load()
        repeats = -(-50_000 // len(splits.train.labels))
        return splits._replace(train=Examples(*(part.repeat_interleave(repeats, 0)[:50_000] for part in splits.train)))


def our_data(batch_size: int) -> MNISTDigitsDataModule:
    data = Digits(batch_size=batch_size)
    data.setup()
    return data


def ours(hidden: int, batch_size: int, steps: int, precision: str) -> Callable[[], float]:
    data, model = our_data(batch_size), our_model(hidden)

    def measure() -> float:
        watch = Stopwatch(WARMUP, steps)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                logger=RunLogger(folder),
                callbacks=[
                    BestAndLast(),
                    ImageGrids(),
                    LatentPictures(),
                    LinearKLAnnealing(warmup_steps=100),
                    TQDMProgressBar(25),
                    watch,
                ],
                gradient_clip_val=5.0,
                max_steps=WARMUP + steps + 1,
                limit_val_batches=0,
                precision=precision,
                accelerator="cpu",
                enable_model_summary=False,
            )
            trainer.fit(model, data)
        return watch.seconds

    return measure


class Plain(LightningModule):
    """Our model, trained with Lightning's usual habits."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        terms = self.model.loss(torch.bernoulli(batch[0]))
        for name, value in terms.items():
            self.log(f"train/{name}", value, on_step=True, on_epoch=True, prog_bar=name == "loss")
        return terms["loss"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)


def plain_lightning(hidden: int, batch_size: int, steps: int) -> Callable[[], float]:
    train = our_data(batch_size).load().train
    loader = DataLoader(TensorDataset(train.images / 255, train.labels), batch_size, shuffle=True)
    model = Plain(our_model(hidden))

    def measure() -> float:
        watch = Stopwatch(WARMUP, steps)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                default_root_dir=folder,
                callbacks=[watch],
                gradient_clip_val=5.0,
                max_steps=WARMUP + steps + 1,
                accelerator="cpu",
                enable_model_summary=False,
            )
            trainer.fit(model, loader)
        return watch.seconds

    return measure


def bare(hidden: int, batch_size: int, steps: int) -> Callable[[], float]:
    data, model = our_data(batch_size), our_model(hidden)
    loader, optimizer = data.train_dataloader(), torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step(batch: tuple[Tensor, ...]) -> None:
        loss = model.loss(batch[0])["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return lambda: timed(step, loader, WARMUP, steps)


def published(hidden: int, batch_size: int, steps: int) -> Callable[[], float]:
    train = our_data(batch_size).load().train
    loader = DataLoader(TensorDataset(train.images / 255, train.labels), batch_size, shuffle=True)
    model = Published(hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(batch: tuple[Tensor, ...]) -> None:
        x = torch.bernoulli(batch[0])
        probabilities, mean, logvar = model(x)
        reconstruction = F.binary_cross_entropy(probabilities, x.view(-1, 784), reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())
        loss = (reconstruction + kl) / len(x)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        loss.item()  # the published code prints it

    return lambda: timed(step, loader, WARMUP, steps)


def products(hidden: int, batch_size: int, steps: int) -> Callable[[], float]:
    """The matrix products of a step and nothing else, neither optimiser nor activations: no trainer needs less."""
    layers = [layer for layer in our_model(hidden).modules() if isinstance(layer, nn.Linear)]
    weights = [layer.weight.detach() for layer in layers]
    inputs = [(torch.randn(batch_size, w.shape[1]), torch.empty(batch_size, w.shape[1])) for w in weights]
    outputs = [(torch.randn(batch_size, w.shape[0]), torch.empty(batch_size, w.shape[0])) for w in weights]
    gradients = [torch.empty_like(w) for w in weights]

    def step(batch: tuple[Tensor, ...]) -> None:
        for w, (x, _), (_, y) in zip(weights, inputs, outputs, strict=True):
            torch.mm(x, w.t(), out=y)
        for i, (w, (x, d_x), (d_y, _)) in enumerate(zip(weights, inputs, outputs, strict=True)):
            torch.mm(d_y.t(), x, out=gradients[i])
            if i > 0:  # images need no gradient
                torch.mm(d_y, w, out=d_x)

    return lambda: timed(step, [()], WARMUP, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden_dim", type=int, default=1024)
    parser.add_argument("--batch_size", type=int, default=50)
    parser.add_argument("--steps", type=int, default=60, help="timed steps in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep_memory", action="store_true", help="let all keep freed memory, as ours do")
    parser.add_argument("--no_bf16", action="store_true", help="leave bf16-mixed out")
    arguments = parser.parse_args()
    sizes = (arguments.hidden_dim, arguments.batch_size, arguments.steps)
    made = {
        "ours, Trainer.fit": (ours, "32-true"),
        "bare loop": (bare,),
        "plain Lightning": (plain_lightning,),
        "published style": (published,),
        "ours, bf16-mixed": (ours, "bf16-mixed"),
        "pythae": (pythae,),
        "matrix products alone": (products,),
    }
    if arguments.no_bf16:
        del made["ours, bf16-mixed"]
    contenders = {}
    for name, (make, *more) in made.items():
        keep = arguments.keep_memory or name == "bare loop"  # ours does by itself
        with contextlib.suppress(ModuleNotFoundError) if name == "pythae" else contextlib.nullcontext():
            contenders[name] = Contender(make, *sizes, *more, threads=arguments.threads, keep_memory=keep)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name, contender in contenders.items():
            times[name].append(contender.ask("__call__") * 1e3)
    for contender in contenders.values():
        contender.end()

    print(f"hidden {sizes[0]}, batch {sizes[1]}, {arguments.threads} thread(s), torch {torch.__version__}")
    print(f"{'':22s}{'ms/step':>9s}   time relative to ours: median [min..max over {arguments.rounds} rounds]")
    reference = times["ours, Trainer.fit"]
    for name, values in times.items():
        ratios = [value / ours_value for value, ours_value in zip(values, reference, strict=True)]
        low, high = min(ratios), max(ratios)
        print(f"{name:22s}{statistics.median(values):9.2f}   {statistics.median(ratios):.2f} [{low:.2f}..{high:.2f}]")
    for name, what in (("ours, Trainer.fit", "our"), ("plain Lightning", "plain Lightning's")):
        overhead = statistics.median(a - b for a, b in zip(times[name], times["bare loop"], strict=True))
        print(f"{what} overhead over the bare loop: {overhead:.2f} ms a step (median)")


if __name__ == "__main__":
    main()
