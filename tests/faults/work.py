"""What the processes of these tests do, and models of each kind that train in a second."""

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch.optim import Optimizer

from datamodules import MNISTDigitsDataModule
from skipvae.cli import main
from skipvae.cli import run as run_command
from tests.command_line import QUIET, ROOT, TINY, digits, overridden, plain

ANNEALED = (
    "--trainer.callbacks+=skipvae.callbacks.LinearKLAnnealing",
    "--trainer.callbacks.warmup_epochs=2",
    "--trainer.accelerator=cpu",
)
REFINED = ("--model.inference=skipvae.inference.SemiAmortized", "--model.inference.num_steps=2")
WORDS = ("light", "dark", "day", "night", "good", "bad", "and")
TEXT = (
    *("--config", str(ROOT / "configs/verses/vae_small.yaml"), "--name=tiny", *QUIET, "--data=TextDataModule"),
    *("--data.train=corpus.txt", "--data.batch_size=8", "--data.eval_batch_size=4", "--trainer.log_every_n_steps=3"),
    "--data.train_size=null",
    *(f"--model.{part}.{size}=6" for part in ("encoder", "decoder") for size in ("embedding_dim", "hidden_dim")),
    *("--model.decoder.latent_dim=2", "--model.num_importance_samples=5", "--trainer.accelerator=cpu"),
)
IMAGES = (*TINY, "--model.num_importance_samples=5", *ANNEALED)
MODELS: dict[str, tuple[str, ...]] = {
    "images": IMAGES,
    "images, SA": (*IMAGES, *REFINED),
    "text": TEXT,
    "text, SA": (*TEXT, *REFINED),
}
RUNS = Path("lightning_logs/tiny")


def write_corpus(folder: Path = Path(), sentences: int = 60) -> None:
    """Sentences of 1 to 6 words: 48 to train on, 6 for validation, 6 for test."""
    generator = torch.Generator().manual_seed(0)
    lines = []
    for _ in range(sentences):
        length = int(torch.randint(1, 7, (1,), generator=generator))
        lines.append(" ".join(WORDS[i] for i in torch.randint(len(WORDS), (length,), generator=generator).tolist()))
    (folder / "corpus.txt").write_text("".join(f"{line}\n" for line in lines))


# -- training ---------------------------------------------------------------------------------------------------------


class Killed(pl.Callback):
    """Tells that training has begun; kills the process at a place, such as ("step", 7) or ("validation", 2)."""

    def __init__(self, kind: str | None = None, count: int = 0) -> None:
        self.kind, self.left = kind, count

    def reach(self, kind: str) -> None:
        """The process has come to a place; if it is the one, this was the last thing it did."""
        if kind == self.kind:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        Path("training").touch()

    def on_train_batch_start(self, *args: Any) -> None:
        self.reach("step")

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        self.reach("gradient")

    def on_validation_batch_start(self, *args: Any) -> None:
        self.reach("validation")

    def on_validation_epoch_end(self, *args: Any) -> None:
        self.reach("end of validation")


def kill_within_writes(killed: Killed) -> None:
    """Places within the writing of a checkpoint: half of it written, all written, and just renamed."""
    import skipvae.callbacks.checkpoints as checkpoints
    import skipvae.persistence.atomic as atomic

    replace, write = Path.replace, atomic.atomic_write

    class Half:
        """A file in the midst of whose writing the process may be killed."""

        def __init__(self, file: Any) -> None:
            self.file, self.writes = file, 0
            if killed.kind == "half written":
                killed.left -= 1
            self.doomed = killed.kind == "half written" and killed.left == 0

        def write(self, content: Any) -> Any:
            self.writes += 1
            if self.doomed and self.writes == 20:
                self.file.write(bytes(content)[: len(content) // 2])
                self.file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return self.file.write(content)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    class Writing:
        def __init__(self, path: Any, mode: Any) -> None:
            self.inner = write(path, mode)

        def __enter__(self) -> Half:
            return Half(self.inner.__enter__())

        def __exit__(self, *error: Any) -> Any:
            return self.inner.__exit__(*error)

    def slow_replace(self: Path, target: Any) -> Any:
        killed.reach("written")
        result = replace(self, target)
        killed.reach("renamed")
        return result

    checkpoints.atomic_write = Writing  # type: ignore[attr-defined]
    Path.replace = slow_replace  # type: ignore[method-assign]


def train(model: str, options: Sequence[str] = (), place: tuple[str, int] | None = None) -> None:
    """Trains a model in the working folder, or goes on where the last run there stopped; writes its metrics."""
    killed = Killed(*(place or ()))
    kill_within_writes(killed)
    Path("training").unlink(missing_ok=True)
    if not Path("corpus.txt").exists():
        write_corpus()
    saved = sorted(RUNS.glob("*/checkpoints/last.ckpt"))
    args = ["--ckpt_path", str(saved[-1]), *QUIET] if saved else list(MODELS[model])
    begin = time.perf_counter()
    cli = plain(["fit", *args, "--trainer.max_epochs=3", *options], callbacks=[killed])
    seconds = time.perf_counter() - begin
    metrics = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
    Path("done.json").write_text(json.dumps({"metrics": metrics, "seconds": seconds}))


def curves(run: Path) -> dict[tuple[str, int], float]:
    """Every scalar that a run wrote for TensorBoard; what was written twice must have been the same."""
    found: dict[tuple[str, int], float] = {}
    for path in sorted(run.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("tensor") and len(value.tensor.float_val) == 1:
                    key, number = (value.tag, event.step), value.tensor.float_val[0]
                    assert found.setdefault(key, number) == number, key
    return found


# -- commands ---------------------------------------------------------------------------------------------------------


def command(*args: str) -> None:
    """As in a terminal: errors are one line and an exit status."""
    _without_reading_the_digits_again()
    main(overridden(args))


def run(args: Sequence[str], callbacks: Sequence[pl.Callback] = ()) -> Any:
    """Runs a command, pictures and all; errors come with their traceback."""
    _without_reading_the_digits_again()
    return run_command(list(args), callbacks)


def results(args: Sequence[str], output: str) -> None:
    """Runs a command and keeps what the model measured, one file for each process."""
    cli = plain(list(args))
    rank = os.environ.get("RANK", "0")
    Path(f"{output}_{rank}.json").write_text(json.dumps(cli.model.results))


def _without_reading_the_digits_again() -> None:
    MNISTDigitsDataModule.load = lambda _: digits()  # type: ignore[method-assign]
