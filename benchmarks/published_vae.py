"""The VAE of `train_images.py` in the published style, and pythae's trainer of the same networks, where installed."""

import tempfile
from collections.abc import Callable

import torch
import torch.nn.functional as F
from step_timing import clock
from torch import Tensor, nn

from datamodules import MNISTDigitsDataModule

K = 20


class Published(nn.Module):
    """The published style in plain PyTorch: probabilities first, then their cross-entropy, concatenation-free."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.enc1, self.enc2 = nn.Linear(784, hidden), nn.Linear(hidden, hidden)
        self.mean, self.logvar = nn.Linear(hidden, K), nn.Linear(hidden, K)
        self.dec0, self.out = nn.Linear(K, hidden), nn.Linear(hidden, 784)
        self.dec = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.enc2(F.relu(self.enc1(x.view(-1, 784)))))
        mean, logvar = self.mean(h), self.logvar(h)
        h = self.dec0(mean + torch.exp(0.5 * logvar) * torch.randn_like(mean))
        for layer in self.dec:
            h = F.relu(layer(h))
        return torch.sigmoid(self.out(h)), mean, logvar


def pythae(hidden: int, batch_size: int, steps: int) -> Callable[[], float]:
    """pythae's own trainer and VAE, with networks of our size; its callbacks and evaluation switched off."""
    from pythae.data.datasets import BaseDataset  # type: ignore[import-not-found]
    from pythae.models import VAE as PythaeVAE  # type: ignore[import-not-found]  # noqa: N811
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput  # type: ignore[import-not-found]
    from pythae.models.nn import BaseDecoder, BaseEncoder  # type: ignore[import-not-found]
    from pythae.trainers import BaseTrainer, BaseTrainerConfig  # type: ignore[import-not-found]

    plain = Published(hidden)

    class PlainEncoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.ModuleList([plain.enc1, plain.enc2, plain.mean, plain.logvar])

        def forward(self, x: Tensor) -> object:
            enc1, enc2, mean, logvar = self.net
            h = F.relu(enc2(F.relu(enc1(x.reshape(-1, 784)))))
            return ModelOutput(embedding=mean(h), log_covariance=logvar(h))

    class PlainDecoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.ModuleList([plain.dec0, *plain.dec, plain.out])

        def forward(self, z: Tensor) -> object:
            first, *hidden_layers, out = self.net
            h = first(z)
            for layer in hidden_layers:
                h = F.relu(layer(h))
            return ModelOutput(reconstruction=torch.sigmoid(out(h)))

    train = MNISTDigitsDataModule().load().train  # its trainer is timed by whole epochs
    folder = tempfile.mkdtemp()
    model = PythaeVAE(
        VAEConfig(input_dim=(1, 28, 28), latent_dim=K, reconstruction_loss="bce"), PlainEncoder(), PlainDecoder()
    )
    trainer = BaseTrainer(
        model,
        BaseDataset((train.images / 255).round(), train.labels),
        training_config=BaseTrainerConfig(
            folder, per_device_train_batch_size=batch_size, num_epochs=1, learning_rate=1e-3, no_cuda=True
        ),
    )
    trainer.prepare_training()
    per_epoch = len(trainer.train_loader)

    def measure() -> float:
        epochs = max(1, steps // per_epoch)
        start = clock()
        for epoch in range(epochs):
            trainer.train_step(epoch + 1)
        return (clock() - start) / (epochs * per_epoch)

    return measure
