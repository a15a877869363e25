"""Loading a trained model by the name of its run or its file."""

from pathlib import Path
from typing import Any

import torch

from skipvae.models.base import GenerativeModel
from skipvae.persistence import saved_runs


def load(path: str | Path = "best", device: str | torch.device = "cpu") -> Any:
    """The model of a checkpoint, in evaluation mode; classes of one's own are imported by the config of its run.

    Args:
        path: a checkpoint; a run folder, for its best one; or `best` or `last`, for that of the newest run in
            lightning_logs.
        device: where to.

    Returns:
        A `VAE` or an `Autoregressive`.

    Raises:
        FileNotFoundError: if there is no such file or run.
        ValueError: if it is no checkpoint of this project.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from skipvae import VAE, load
        >>> from skipvae.decoders import MLPDecoder
        >>> from skipvae.encoders import MLPEncoder
        >>> model = VAE(MLPEncoder(latent_dim=2, hidden_dim=8), MLPDecoder(latent_dim=2, hidden_dim=8, skip=True))
        >>> with TemporaryDirectory() as folder:
        ...     model.save_checkpoint(f"{folder}/a.ckpt")
        ...     model = load(f"{folder}/a.ckpt")
        >>> codes = model.encode(torch.rand(5, 28, 28))
        >>> codes.mean.shape, model.decode(codes.mean).shape
        ((5, 2), (5, 1, 28, 28))
    """
    checkpoint = saved_runs.checkpoint_at(str(path))
    saved_runs.import_classes_of(checkpoint)
    return GenerativeModel.load_from_checkpoint(checkpoint, map_location=torch.device(device))
