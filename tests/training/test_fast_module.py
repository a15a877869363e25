"""What is spared must not be missed: clipping gives the same weights, and a profiler of the user's still profiles."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.profilers import PassThroughProfiler, SimpleProfiler
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.utils.data import DataLoader, TensorDataset

from skipvae import VAE
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder
from skipvae.training.fast_module import SWITCH

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round()


class Repeatable(VAE):
    """Its noise is the same at every step, under a Trainer or not."""

    def loss(self, x: Tensor) -> dict[str, Tensor]:
        torch.manual_seed(0)
        return super().loss(x)


def make(optimizer: Callable[[Iterable[Tensor]], Optimizer], kind: type[VAE] = Repeatable) -> VAE:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"latent_dim": 2, "image_shape": (1, 4, 4), "hidden_dim": 8, "num_layers": 1}
    return kind(MLPEncoder(**sizes), MLPDecoder(**sizes), optimizer=optimizer)


def trained(
    optimizer: Callable[[Iterable[Tensor]], Optimizer], model: VAE | None = None, epochs: int = 1, **options: Any
) -> VAE:
    model = model or make(optimizer)
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", **QUIET, **options)
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
def test_gradients_are_clipped_by_norm_as_torch_does(optimizer: Any, limit: float) -> None:
    ours = trained(optimizer, gradient_clip_val=limit)
    assert same(ours, trained_by_hand(optimizer, partial(nn.utils.clip_grad_norm_, max_norm=limit)))
    assert same(ours, trained(optimizer)) == (limit > 1e3)


@pytest.mark.parametrize("fused", [True, False])
def test_gradients_are_clipped_by_value_as_torch_does(fused: bool) -> None:
    optimizer = partial(SGD, lr=0.1, fused=fused)
    ours = trained(optimizer, gradient_clip_val=0.05, gradient_clip_algorithm="value")
    assert same(ours, trained_by_hand(optimizer, partial(nn.utils.clip_grad_value_, clip_value=0.05)))


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_fused_optimisers_clip_in_other_precisions(precision: str) -> None:
    optimizer = partial(SGD, lr=0.1, fused=True)
    before, after = make(optimizer), trained(optimizer, gradient_clip_val=1e-3, precision=precision)
    moves = [(b - a).norm() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert 0 < torch.stack(moves).norm() <= 3e-4 * 1.01  # three steps of 0.1 times a gradient of norm 1e-3


def in_float16() -> MixedPrecision:
    return MixedPrecision("16-mixed", "cpu")  # a Trainer takes bfloat16 on the CPU, unless it is handed this


@pytest.mark.parametrize("limit", [0.3, 1e4])
def test_with_a_scaler_it_is_the_gradient_of_the_loss_that_is_clipped(limit: float) -> None:
    """The scaler skips steps until its scale fits into float16, the same ones for either optimiser."""
    fused, plain = (
        trained(partial(SGD, lr=0.1, fused=fused), epochs=5, gradient_clip_val=limit, plugins=in_float16())
        for fused in (True, False)
    )
    assert same(fused, plain)
    assert not same(fused, make(partial(SGD, lr=0.1)))


class Until(Callback):
    """Ends clipping after the first step."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.gradient_clip_val = None


class OnlyFirst(Repeatable):
    """Clips in the first step only."""

    def configure_gradient_clipping(self, optimizer: Optimizer, *limits: Any, **named: Any) -> None:
        if self.global_step == 0:
            super().configure_gradient_clipping(optimizer, *limits, **named)


class Looks(Repeatable):
    """Looks at the gradients that it has clipped."""

    def configure_gradient_clipping(self, optimizer: Optimizer, *limits: Any, **named: Any) -> None:
        super().configure_gradient_clipping(optimizer, *limits, **named)
        seen = nn.utils.get_total_norm([weight.grad for weight in self.parameters() if weight.grad is not None])
        assert seen <= 0.1 * 1.01


class ByValue(Repeatable):
    """Passes on the limit and not the algorithm."""

    def configure_gradient_clipping(self, optimizer: Optimizer, *limits: Any, **named: Any) -> None:
        super().configure_gradient_clipping(optimizer, named["gradient_clip_val"])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Repeatable, {"callbacks": [Until()]}),
        (OnlyFirst, {}),
        (Looks, {}),
        (ByValue, {"gradient_clip_algorithm": "value"}),
    ],
)
def test_clipping_that_the_user_has_a_hand_in_is_the_same_for_fused_optimisers(
    kind: Any, options: dict[str, Any]
) -> None:
    fused, plain = (
        trained(make_sgd, make(make_sgd, kind), gradient_clip_val=0.1, **options)
        for make_sgd in (partial(SGD, lr=0.1, fused=True), partial(SGD, lr=0.1))
    )
    assert same(fused, plain)


def test_a_step_after_training_is_not_clipped() -> None:
    model = make(partial(SGD, lr=0.1, fused=True))
    optimizer = partial(SGD, lr=0.1, fused=True)(model.parameters())
    model._optimizer_factory = lambda _: optimizer
    trained(partial(SGD, lr=0.1), model, gradient_clip_val=1e-6)
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    torch.testing.assert_close(nn.utils.parameters_to_vector(model.parameters()), before - 0.1)


def test_an_optimiser_that_knows_nothing_of_fused_groups_is_clipped() -> None:
    class Own(SGD):
        _step_supports_amp_scaling = True

        def __init__(self, weights: Iterable[Tensor]) -> None:
            super().__init__(weights, lr=0.1)
            del self.param_groups[0]["fused"]

        def step(self, closure: Any = None) -> Any:
            loss = closure()
            with torch.no_grad():
                for weight in self.param_groups[0]["params"]:
                    weight.sub_(0.1 * weight.grad)
            return loss

    ours = trained(Own, gradient_clip_val=0.1)
    assert same(ours, trained(partial(SGD, lr=0.1), gradient_clip_val=0.1))


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_a_negative_limit_is_none(algorithm: str) -> None:
    optimizer = partial(SGD, lr=0.1, fused=True)
    options = {"precision": "bf16-mixed", "gradient_clip_algorithm": algorithm}
    assert same(trained(optimizer, gradient_clip_val=-1.0, **options), trained(optimizer, **options))


def test_an_optimiser_that_a_checkpoint_has_made_unfused_is_clipped_too() -> None:
    class Unfused(SGD):
        def __init__(self, weights: Iterable[Tensor]) -> None:
            super().__init__(weights, lr=0.1, fused=True)
            self.param_groups[0]["fused"] = None  # as a state dict of a run without does

    before, after = make(Unfused), trained(Unfused, gradient_clip_val=1e-3)
    moves = [(b - a).norm() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert 0 < torch.stack(moves).norm() <= 3e-4 * 1.01


def test_a_profiler_of_the_users_profiles() -> None:
    profiler = SimpleProfiler()
    trained(partial(SGD, lr=0.1), profiler=profiler)
    assert len(profiler.recorded_durations["[LightningModule]Repeatable.on_train_batch_start"]) == 3


@pytest.mark.parametrize("fused", [True, False])
def test_with_the_switch_off_the_weights_are_the_same(monkeypatch: pytest.MonkeyPatch, fused: bool) -> None:
    optimizer = partial(SGD, lr=0.1, fused=fused)
    fast = trained(optimizer, gradient_clip_val=0.1)
    monkeypatch.setenv(SWITCH, "0")
    profilers = []

    class Watches(Callback):
        def on_train_start(self, trainer: Trainer, *_: Any) -> None:
            profilers.append(type(trainer.profiler))  # type: ignore[attr-defined]

    monkeypatch.setattr("skipvae.training.fast_module.divide_gradients_in_next_step", None)  # calling it would fail
    monkeypatch.setattr("skipvae.training.fast_module.tune_process", None)
    assert same(fast, trained(optimizer, gradient_clip_val=0.1, callbacks=[Watches()]))
    assert profilers == [PassThroughProfiler]


def test_a_mistyped_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "no")
    with pytest.raises(ValueError, match="SKIPVAE_FAST_STEPS is 'no': set it to 0 or 1"):
        trained(partial(SGD, lr=0.1))


def test_weights_and_modules_are_registered_as_ever() -> None:
    model = make(partial(SGD, lr=0.1))
    model.extra = nn.Parameter(torch.zeros(2))
    model.layer = nn.Linear(1, 1)
    assert {"extra", "layer.weight"} <= dict(model.named_parameters()).keys()
