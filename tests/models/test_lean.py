"""What is spared must not be missed: clipping gives the same weights, and a profiler of the user's still profiles."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.profilers import SimpleProfiler
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.utils.data import DataLoader, TensorDataset

from skipvae import VAE
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round()


class Repeatable(VAE):
    """Its noise is the same at every step, under a Trainer or not."""

    def loss(self, x: Tensor) -> dict[str, Tensor]:
        torch.manual_seed(0)
        return super().loss(x)


def make(optimizer: Callable[[Iterable[Tensor]], Optimizer]) -> VAE:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"latent_dim": 2, "image_shape": (1, 4, 4), "hidden_dim": 8, "num_layers": 1}
    return Repeatable(MLPEncoder(**sizes), MLPDecoder(**sizes), optimizer=optimizer)


def trained(optimizer: Callable[[Iterable[Tensor]], Optimizer], **options: Any) -> VAE:
    model = make(optimizer)
    trainer = Trainer(max_epochs=1, accelerator="cpu", **QUIET, **options)
    trainer.fit(model, DataLoader(TensorDataset(IMAGES), batch_size=8))
    return model


def trained_by_hand(optimizer: Callable[[Iterable[Tensor]], Optimizer], clip: Callable[[Iterable[Tensor]], Any]) -> VAE:
    """The same three steps without a Trainer."""
    model = make(optimizer)
    chosen = optimizer(model.parameters())
    for batch in IMAGES.split(8):
        chosen.zero_grad()
        model.loss(batch)["loss"].backward()
        clip(model.parameters())
        chosen.step()
    return model


def same(a: VAE, b: VAE) -> bool:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.allclose(mine, other, rtol=1e-5, atol=1e-6) for mine, other in pairs)


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(SGD, lr=0.1, fused=True),
        partial(SGD, lr=0.1),
        # A large eps, since Adam is blind to the scale of a gradient, and so to clipping.
        partial(Adam, lr=0.1, eps=1.0, fused=True),
        partial(AdamW, lr=0.1, eps=1.0, fused=True),
        partial(Adagrad, lr=0.1, eps=1.0, fused=True),
        partial(Adam, lr=0.1, eps=1.0),
    ],
)
@pytest.mark.parametrize("limit", [0.3, 1e4])
def test_gradients_are_clipped_by_norm_as_torch_does(optimizer, limit):
    ours = trained(optimizer, gradient_clip_val=limit)
    assert same(ours, trained_by_hand(optimizer, partial(nn.utils.clip_grad_norm_, max_norm=limit)))
    assert same(ours, trained(optimizer)) == (limit > 1e3)


@pytest.mark.parametrize("fused", [True, False])
def test_gradients_are_clipped_by_value_as_torch_does(fused):
    optimizer = partial(SGD, lr=0.1, fused=fused)
    ours = trained(optimizer, gradient_clip_val=0.05, gradient_clip_algorithm="value")
    assert same(ours, trained_by_hand(optimizer, partial(nn.utils.clip_grad_value_, clip_value=0.05)))


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_fused_optimisers_clip_in_other_precisions(algorithm, precision):
    """Which Lightning refuses in bf16-mixed."""
    optimizer = partial(SGD, lr=0.1, fused=True)
    options = {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": algorithm, "precision": precision}
    before, after = make(optimizer), trained(optimizer, **options)
    moves = [(b - a).norm() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    # Three steps of 0.1 times a gradient whose norm, or whose entries, are at most 1e-3.
    largest = 1.0 if algorithm == "norm" else sum(weight.numel() for weight in before.parameters()) ** 0.5
    assert 0 < torch.stack(moves).norm() <= 3e-4 * largest * 1.01


def test_an_optimiser_that_a_checkpoint_has_made_unfused_is_clipped_too():
    class Unfused(SGD):
        def __init__(self, weights: Iterable[Tensor]) -> None:
            super().__init__(weights, lr=0.1, fused=True)
            self.param_groups[0]["fused"] = None  # as a state dict of a run without does

    before, after = make(Unfused), trained(Unfused, gradient_clip_val=1e-3)
    moves = [(b - a).norm() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert 0 < torch.stack(moves).norm() <= 3e-4 * 1.01


def test_a_profiler_of_the_users_profiles():
    profiler = SimpleProfiler()
    trained(partial(SGD, lr=0.1), profiler=profiler)
    assert len(profiler.recorded_durations["[LightningModule]Repeatable.on_train_batch_start"]) == 3


def test_weights_and_modules_are_registered_as_ever():
    model = make(partial(SGD, lr=0.1))
    model.extra = nn.Parameter(torch.zeros(2))
    model.layer = nn.Linear(1, 1)
    assert {"extra", "layer.weight"} <= dict(model.named_parameters()).keys()
