"""A model whose losses are written in advance, and a logger that keeps what it is given."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from torch.utils.data import DataLoader, TensorDataset

from skipvae import VAE
from skipvae.callbacks import BestAndLast
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder

NUM_BATCHES = 6
SETTINGS: dict[str, Any] = {
    "accelerator": "cpu",
    "max_epochs": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
}


class Kept(Logger):
    """A logger that keeps what it is given."""

    name, version = "kept", 0

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[tuple[int, dict[str, float]]] = []

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append((step, metrics))

    def series(self, name: str) -> dict[int, float]:
        return {step: metrics[name] for step, metrics in self.metrics if name in metrics}


class Scripted(VAE):
    """A VAE whose losses are written in advance; "value" is what term `term` has at the given step."""

    def __init__(self, values: dict[int, float] | None = None, term: str = "kl", **options: Any) -> None:
        encoder, decoder = MLPEncoder(2, (1, 2, 2), 16, 1), MLPDecoder(2, (1, 2, 2), 16, 1)
        super().__init__(encoder, decoder, **options)
        self.values, self.term = values or {}, term

    def loss(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        terms = super().loss(x)
        if self.global_step in self.values:
            terms[self.term] = terms[self.term] * 0 + self.values[self.global_step]
            terms["loss"] = terms["kl"] - terms["reconstruction"]
        return terms


def batches() -> DataLoader[Any]:
    x = torch.rand(4 * NUM_BATCHES, 1, 2, 2, generator=torch.Generator().manual_seed(0)).round()
    return DataLoader(TensorDataset(x, torch.zeros(len(x))), batch_size=4)


def fit(model: pl.LightningModule, folder: Path, ckpt_path: Path | None = None, **options: Any) -> pl.Trainer:
    own: dict[str, Any] = {"logger": False, "callbacks": [BestAndLast()], "default_root_dir": folder}
    trainer = pl.Trainer(**(SETTINGS | own | options))
    trainer.fit(model, batches(), batches(), ckpt_path=ckpt_path)
    return trainer
