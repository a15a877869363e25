"""The results of a test: a table and a verdict for people, metrics.json for programs."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from skipvae.callbacks.diagnosis import verdict
from skipvae.callbacks.kl_annealing import CyclicalKLAnnealing, LinearKLAnnealing
from skipvae.callbacks.results_page import write_results
from skipvae.metrics.registry import meanings
from skipvae.persistence.atomic import atomic_write
from skipvae.persistence.run_folder import run_folder
from skipvae.persistence.spec import class_path


class Report(Callback):
    """Prints the results of `validate` and `test` with their meaning and a verdict; `test` writes metrics.json.

    Loggers that take text and pictures get the table of a test, too, and a plot of its latent dimensions.

    The file goes into the run's folder: the results in full precision, the number of examples, the seed, the
    checkpoint, the classes of the model and the data, and the seconds of the test, and of training in the same process.

    Args:
        settings: further entries of the file, on how the results were obtained.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self._settings = dict(settings or {})
        self._begin = 0.0
        self._fit_seconds: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._begin = perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self._fit_seconds = perf_counter() - self._begin

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._begin = perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the table, unless this is a validation within training."""
        if trainer.state.fn == TrainerFn.VALIDATING and trainer.is_global_zero:
            self._print(trainer, pl_module, "validation")

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Prints the table and writes metrics.json."""
        seconds = perf_counter() - self._begin
        folder = run_folder(trainer)  # asks all processes, so it stands before the test for the first one
        if not trainer.is_global_zero:
            return
        truth = getattr(getattr(trainer, "datamodule", None), "truth", {})  # data made by a process that is known
        pl_module.results.update({f"true_{name}": value for name, value in truth.items()})
        self._print(trainer, pl_module, "test")
        write_results(trainer, pl_module, rows(pl_module.results, getattr(pl_module, "num_importance_samples", None)))
        if folder is not None and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            path = folder / "metrics.json"
            with atomic_write(path) as file:
                json.dump(self._record(trainer, pl_module, seconds), file, indent=2, allow_nan=False, default=str)
                file.write("\n")
            Console().print(f"written to {path}", soft_wrap=True, highlight=False)

    def _print(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        console = Console()
        console.print(table(pl_module.results, stage, getattr(pl_module, "num_importance_samples", None)))
        if "probe_skipped" in pl_module.results:
            console.print(f"labels are not predicted: {pl_module.results['probe_skipped']}", soft_wrap=True)
        annealing = (LinearKLAnnealing, CyclicalKLAnnealing)
        line = verdict(
            pl_module.results,
            skip=bool(getattr(pl_module.decoder, "skip", False)),
            annealed=any(isinstance(callback, annealing) for callback in trainer.callbacks),  # type: ignore[attr-defined]
            free_bits=getattr(pl_module, "free_bits", 0) > 0,
        )
        console.print(line, soft_wrap=True, highlight=False)

    def _record(self, trainer: Trainer, pl_module: Any, seconds: float) -> dict[str, Any]:
        seed, checkpoint = os.environ.get("PL_GLOBAL_SEED"), trainer.ckpt_path
        record = {
            "stage": "test",
            **pl_module.results,
            "model": describe(pl_module),
            "num_importance_samples": getattr(pl_module, "num_importance_samples", None),
            "seed": None if seed is None else int(seed),
            "checkpoint": None if checkpoint is None else str(checkpoint),
            "data": class_path(type(data)) if (data := getattr(trainer, "datamodule", None)) is not None else None,
            "split_facts": getattr(data, "split_facts", None),
            "label_names": getattr(data, "label_names", None) or None,
            "seconds": seconds,
            "fit_seconds": self._fit_seconds,
            **self._settings,
        }
        return {name: _finite(value) for name, value in record.items()}


def _finite(value: Any) -> Any:
    """The same with None for NaN and infinity, which JSON lacks, also within lists and mappings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, (list, tuple)) else value


def describe(model: Any) -> dict[str, Any]:
    """The parts of a model by class, whether it skips, and the size of z.

    Example:
        >>> from skipvae.decoders import MLPDecoder
        >>> from skipvae.encoders import MLPEncoder
        >>> from skipvae.models import VAE
        >>> describe(VAE(MLPEncoder(2, hidden_dim=8), MLPDecoder(2, hidden_dim=8, skip=True)))
        {'class': 'skipvae.VAE', 'encoder': 'skipvae.encoders.MLPEncoder', 'decoder': 'skipvae.decoders.MLPDecoder',
         'inference': 'skipvae.inference.Amortized', 'skip': True, 'latent_dim': 2}
    """
    parts = {name: getattr(model, name, None) for name in ("encoder", "decoder", "inference")}
    return {
        "class": class_path(type(model)),
        **{name: class_path(type(part)) for name, part in parts.items() if part is not None},
        "skip": getattr(model.decoder, "skip", False),
        "latent_dim": getattr(model.decoder, "latent_dim", 0),
    }


def table(results: Mapping[str, Any], stage: str, num_importance_samples: int | None = None) -> Table:
    """The results of an evaluation as a table: metric, value and standard error, meaning."""
    found = Table(
        title=f"{stage}: {results.get('num_examples', 0):,} examples, nats per example",
        title_justify="left",
        caption=f"log p(x) is {results['measure']}" if "measure" in results else None,
        caption_justify="left",
        box=SIMPLE,
    )
    found.add_column("metric", no_wrap=True)
    found.add_column("value", justify="right", no_wrap=True)
    found.add_column("meaning")
    for row in rows(results, num_importance_samples):
        found.add_row(*row)
    return found


def rows(results: Mapping[str, Any], num_importance_samples: int | None = None) -> Iterator[tuple[str, str, str]]:
    """The lines of the table: metric, value and standard error, meaning."""
    for key, meaning in meanings(results, num_importance_samples=num_importance_samples):
        yield key, _value(results[key], results.get(f"{key}_stderr")), meaning


def _value(value: float, stderr: float | None) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if stderr is None else f"{value:.3f} ± {stderr:.3f}"
