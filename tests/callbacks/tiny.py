"""A model and data so small that a run takes less than a second."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, TensorDataset

from skipvae.callbacks.run_logger import RunLogger
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder
from skipvae.models import VAE

IMAGE_SHAPE = (1, 4, 4)
LATENT_DIM = 3


def make_model(skip: bool = False, **options: Any) -> VAE:
    torch.manual_seed(0)
    return VAE(
        MLPEncoder(LATENT_DIM, image_shape=IMAGE_SHAPE, hidden_dim=8),
        MLPDecoder(LATENT_DIM, image_shape=IMAGE_SHAPE, hidden_dim=8, num_layers=1, skip=skip),
        num_importance_samples=3,
        **options,
    )


def make_loader(num_examples: int = 16, batch_size: int = 4, ids: torch.Tensor | None = None) -> DataLoader[Any]:
    """Batches (image, label), or (image, label, id) where ids are given."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(num_examples, *IMAGE_SHAPE, generator=generator).round()
    label = torch.arange(num_examples) % 10
    columns = (x, label) if ids is None else (x, label, ids)
    return DataLoader(TensorDataset(*columns), batch_size=batch_size)


def make_trainer(folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    settings: dict[str, Any] = {
        "logger": RunLogger(folder, name="run"),
        "accelerator": "cpu",
        "max_epochs": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "log_every_n_steps": 1,
    }
    return pl.Trainer(callbacks=list(callbacks), **{**settings, **options})


def read_events(folder: Path) -> EventAccumulator:
    """What a run wrote for TensorBoard."""
    everything = {"images": 0, "scalars": 0, "tensors": 0, "histograms": 0}
    return EventAccumulator(str(folder), size_guidance=everything).Reload()
