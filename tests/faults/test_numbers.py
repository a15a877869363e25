"""Numbers that go wrong are named in the step where they do; extreme ones are computed, not clamped."""

import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from skipvae import VAE
from skipvae.callbacks import BestAndLast
from skipvae.decoders import GatedPixelCNNDecoder, LSTMDecoder, MLPDecoder
from skipvae.encoders import LSTMEncoder, MLPEncoder
from skipvae.inference import SemiAmortized
from skipvae.objectives.elbo import elbo, importance_weighted_log_likelihood
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from tests.faults.conftest import Inject

SHAPE = (1, 4, 4)
NUM_BATCHES = 4


def images(number: int = 16) -> torch.Tensor:
    return torch.rand(number, *SHAPE, generator=torch.Generator().manual_seed(0)).round()


def small(**options: Any) -> VAE:
    torch.manual_seed(0)
    return VAE(MLPEncoder(2, SHAPE, 8, 1), MLPDecoder(2, SHAPE, 8, 1), **options)


def fit(model: VAE, folder: Path, x: torch.Tensor, every: int = 1) -> None:
    trainer = pl.Trainer(
        default_root_dir=folder,
        callbacks=[BestAndLast(every_n_train_steps=every)],
        accelerator="cpu",
        logger=False,
        max_epochs=3,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    loader = DataLoader(TensorDataset(x, torch.zeros(len(x))), batch_size=len(x) // NUM_BATCHES)
    trainer.fit(model, loader, DataLoader(TensorDataset(images(), torch.zeros(16)), batch_size=8))


class Breaks(VAE):
    """Something goes wrong at step 6, in one place."""

    place, value = "", math.nan

    @property
    def now(self) -> bool:
        return self.global_step == 6 and self.trainer.training

    def _inferred(self, x: torch.Tensor, beta: float = 1.0) -> Any:
        inferred = super()._inferred(x, beta)
        if self.now and self.place in ("mean", "logvar"):
            broken = torch.full_like(inferred.posterior.mean, self.value)
            parts = {"mean": inferred.posterior.mean, "logvar": inferred.posterior.logvar, self.place: broken}
            inferred = inferred._replace(posterior=DiagonalGaussian(**parts))
        return inferred

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self.now and self.place == "gradient":
            next(self.decoder.parameters()).grad.view(-1)[0] = self.value


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("mean", math.nan, "the (kl|reconstruction) became nan at step 6"),
        ("mean", math.inf, "the (kl|reconstruction) became (inf|nan) at step 6"),
        ("logvar", math.nan, "the (kl|reconstruction) became nan at step 6"),
        ("logvar", math.inf, "the (kl|reconstruction) became (inf|nan) at step 6"),
        ("gradient", math.nan, "is no longer finite after step 6, since its gradient was not"),
        ("gradient", math.inf, "is no longer finite after step 6, since its gradient was not"),
    ],
)
@pytest.mark.parametrize("inference", [None, SemiAmortized(num_steps=2)])
@pytest.mark.parametrize("often", [True, False])
def test_it_is_named_in_its_step_and_the_last_good_checkpoint_stays(
    tmp_path: Path, inject: Inject, place: str, value: Any, message: str, inference: Any, often: bool
) -> None:
    torch.manual_seed(0)
    model = Breaks(MLPEncoder(2, SHAPE, 8, 1), MLPDecoder(2, SHAPE, 8, 1), inference)
    model.place, model.value = place, value
    model._optimizer_factory = lambda parameters: torch.optim.SGD(parameters, lr=1e-3)  # one bad weight stays one
    with inject(f"{'NaN' if math.isnan(value) else 'infinity'} in {place}"):
        with pytest.raises(FloatingPointError, match=message):
            fit(model, tmp_path, images(), every=1 if often else 0)
        saved = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
        assert saved["global_step"] == (6 if often else 4)
        assert all(weight.isfinite().all() for weight in saved["state_dict"].values())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_data_that_are_no_numbers_are_named(tmp_path: Path, inject: Inject, value: Any) -> None:
    x = images()
    x[9, 0, 2, 2] = value  # of the third batch
    with inject(f"{'NaN' if math.isnan(value) else 'infinity'} in data"):
        with pytest.raises(FloatingPointError, match="the data of step 2 holds NaN or infinity"):
            fit(small(), tmp_path, x)
        assert torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 2


class BadValidation(VAE):
    """Fine in training; its third validation is not."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x = batch[0] * math.nan if self.global_step == 3 * NUM_BATCHES else batch[0]
        super().validation_step((x, batch[1]), batch_idx)


def test_a_validation_that_is_no_number_ends_training_before_the_checkpoint(tmp_path: Path, inject: Inject) -> None:
    torch.manual_seed(0)
    model = BadValidation(MLPEncoder(2, SHAPE, 8, 1), MLPDecoder(2, SHAPE, 8, 1))
    with inject("NaN in a validation"):
        with pytest.raises(ValueError, match="NaN or infinite"):
            fit(model, tmp_path, images())
        assert torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)["global_step"] == 2 * NUM_BATCHES


# -- extreme posteriors -----------------------------------------------------------------------------------------------

LOGVARS = [-160.0, -80.0, -20.0, -1.0, 0.0, 1.0, 20.0, 80.0]


@pytest.mark.parametrize("logvar", LOGVARS)
@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_the_divergence_of_extreme_posteriors_is_exact(inject: Inject, logvar: float, mean: float) -> None:
    """float32 against the closed form in Python's float64: nothing is clamped."""
    q = DiagonalGaussian(torch.full((1, 1), mean), torch.full((1, 1), logvar))
    with inject("extreme log-variance"):
        wanted = 0.5 * (mean**2 + math.exp(logvar) - 1 - logvar)
        assert q.kl().item() == pytest.approx(wanted, rel=1e-6)
        noise = torch.tensor([[1.5]])
        z = q.rsample(noise)
        if mean == 0:  # else z is rounded, and a narrow density tells
            density = -0.5 * (1.5**2 + logvar + math.log(2 * math.pi))
            assert q.log_prob(z).item() == pytest.approx(density, rel=1e-5)
        gradient = torch.autograd.functional.jacobian(lambda v: DiagonalGaussian(q.mean, v).kl().sum(), q.logvar)
        assert gradient.item() == pytest.approx(0.5 * (math.exp(logvar) - 1), rel=1e-6)


def test_beyond_what_float32_holds_the_step_fails_instead_of_being_clamped(tmp_path: Path, inject: Inject) -> None:
    model = small()
    with torch.no_grad():
        model.encoder.layers[-1].bias[2:] = 200.0  # e^200 is no float32
    with inject("extreme log-variance"), pytest.raises(FloatingPointError, match=r"the (kl|reconstruction) became"):
        fit(model, tmp_path, images())


def test_steps_of_inference_return_from_extreme_starts(inject: Inject) -> None:
    model = small(inference=SemiAmortized(num_steps=5))
    with torch.no_grad():
        model.encoder.layers[-1].bias[2:] = -15.0
    with inject("extreme log-variance"):
        terms = model.elbo(images())
        assert terms.elbo.isfinite().all()


# -- precisions -------------------------------------------------------------------------------------------------------


def kinds() -> dict[str, tuple[VAE, torch.Tensor]]:
    torch.manual_seed(0)
    tokens = torch.randint(4, 30, (12, 9))
    tokens[:, 0], tokens[:, -1] = 2, 3
    text = {"embedding_dim": 16, "hidden_dim": 16}
    return {
        "MLP": (VAE(MLPEncoder(4, SHAPE, 32), MLPDecoder(4, SHAPE, 32, skip=True)), images(12)),
        "PixelCNN": (
            VAE(MLPEncoder(4, SHAPE, 32), GatedPixelCNNDecoder(4, SHAPE, channels=8, num_layers=3, skip=True)),
            images(12),
        ),
        "LSTM": (
            VAE(LSTMEncoder(4, vocab_size=30, **text), LSTMDecoder(4, vocab_size=30, skip=True, dropout=0.0, **text)),
            tokens,
        ),
    }


def measured(model: VAE, x: torch.Tensor, noise: torch.Tensor) -> dict[str, torch.Tensor]:
    """Bound, its gradient, and likelihood, all by the same noise."""
    model.zero_grad()
    posterior = model.infer(x)
    terms = elbo(model.decoder, x, posterior, noise.type(posterior.mean.dtype))
    loss = -terms.elbo.mean()
    loss.backward()
    gradient = torch.cat([parameter.grad.double().flatten() for parameter in model.parameters()])
    drawn = torch.randn

    class Same:
        """The same numbers in each precision."""

        @staticmethod
        def draw(like: torch.Tensor) -> torch.Tensor:
            return drawn(like.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).type(like.dtype)

    with pytest.MonkeyPatch.context() as monkeypatch, torch.no_grad():
        monkeypatch.setattr(torch, "randn_like", Same.draw)
        nll = -importance_weighted_log_likelihood(model.decoder, x, posterior, 20)
    return {
        "elbo": terms.elbo.double().detach(),
        "kl": terms.kl.double().detach(),
        "nll": nll,
        "gradient": gradient,
    }


@pytest.mark.parametrize("kind", ["MLP", "PixelCNN", "LSTM"])
@pytest.mark.parametrize(("precision", "bound"), [("float32", 2e-6), ("bf16-mixed", 2e-2)])
def test_precisions_agree(inject: Inject, kind: str, precision: str, bound: float) -> None:
    """Relative to the largest value, or to a nat: float32's unit is 6e-8, that of bf16 4e-3; gradients add up more."""
    model, x = kinds()[kind]
    noise = torch.randn(12, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with inject(f"{precision} instead of float64"):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            found = measured(model, x, noise)
        exact = measured(model.double(), x.double() if x.is_floating_point() else x, noise)
        for name, value in exact.items():
            scale = value.abs().max().clamp(min=1)
            assert (found[name] - value).abs().max() <= (2.5 if name == "gradient" else 1) * bound * scale, name
