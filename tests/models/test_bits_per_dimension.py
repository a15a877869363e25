"""Bits per dimension against closed forms, and the words for what log p(x) is: a probability, a density, neither."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from skipvae import VAE, Autoregressive
from skipvae.callbacks import Report
from skipvae.decoders import GatedPixelCNNDecoder, MLPDecoder
from skipvae.encoders import MLPEncoder
from skipvae.likelihoods import Bernoulli, Categorical, ContinuousBernoulli, Gaussian, Likelihood, Measure
from tests.callbacks.tiny import make_trainer

SHAPE = (3, 5, 4)
BYTES = torch.randint(256, (512, *SHAPE), generator=torch.Generator().manual_seed(0)) / 255
BINARY = (BYTES > 0.5).float()
BLACK = torch.zeros(512, *SHAPE)
DEQUANTIZED_BITS = 8 + 0.5 * math.log2(2 * math.pi) + 0.5 / 3 / 256**2 / math.log(2)
"""Of black pixels by N(0, 1): E[-log2 N(u / 256; 0, 1)] + log2 256, where E[u^2] = 1/3."""


def with_zero_weights(model: Any) -> Any:
    """All parameters 0: q(z|x) is the prior, and p(x|z) is the one of parameters 0."""
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    return model


def record_of(model: Any, x: Tensor, folder: Path) -> dict[str, Any]:
    """The metrics.json of a test."""
    make_trainer(folder, Report()).test(model, DataLoader(TensorDataset(x), batch_size=128), verbose=False)
    record: dict[str, Any] = json.loads((folder / "run/version_0/metrics.json").read_text())
    return record


@pytest.mark.parametrize(
    ("likelihood", "x", "measure", "key", "bits"),
    [
        (Bernoulli(), BINARY, Measure.BINARY, "bits_per_dim", 1.0),
        (Bernoulli(), BYTES, Measure.NEITHER, None, None),
        (Categorical(), BYTES, Measure.BYTES, "bits_per_dim", 8.0),
        (Gaussian(dequantize=True), BLACK, Measure.BYTES_BOUND, "bits_per_dim", DEQUANTIZED_BITS),
        (Gaussian(), 0 * BYTES, Measure.DENSITY, "density_bits_per_dim", 0.5 * math.log2(2 * math.pi)),
        (ContinuousBernoulli(), BYTES, Measure.DENSITY, "density_bits_per_dim", 0.0),
    ],
)
def test_bits_are_those_of_the_closed_form(
    likelihood: Likelihood, x: Tensor, measure: Measure, key: str | None, bits: float, tmp_path: Path, capsys: Any
) -> None:
    decoder = MLPDecoder(2, SHAPE, hidden_dim=2, num_layers=0, likelihood=likelihood)
    model = with_zero_weights(VAE(MLPEncoder(2, SHAPE, hidden_dim=2), decoder, num_importance_samples=3))
    record = record_of(model, x, tmp_path)
    assert record["measure"] == measure
    assert record["num_dimensions"] == 60
    assert record["decoder_dependence"] == record["prior_dependence"] == 0  # the decoder does not see z
    found = {name for name in record if name.endswith("bits_per_dim")}
    assert found == ({f"elbo_{key}", f"nll_{key}"} if key else set())
    for name in found:
        assert record[name] == pytest.approx(bits, abs=1e-5)
        nats = name.partition("_")[0]
        assert record[f"{name}_stderr"] == record[f"{nats}_stderr"] / (60 * math.log(2))
    shown = " ".join(capsys.readouterr().out.split())
    assert f"log p(x) is {measure}" in shown
    assert [name in shown for name in sorted(found)] == [measure != Measure.BINARY] * len(found)  # as in older tables


def test_every_batch_of_an_evaluation_counts(tmp_path: Path) -> None:
    later_ones_differ = torch.cat([BINARY[:256], BYTES[:256]])
    model = VAE(MLPEncoder(2, SHAPE, hidden_dim=2), MLPDecoder(2, SHAPE, hidden_dim=2), num_importance_samples=0)
    assert record_of(model, later_ones_differ, tmp_path)["measure"] == Measure.NEITHER
    with pytest.raises(ValueError, match="values must be floats from 0 to 1"):
        record_of(model, torch.cat([BINARY[:256], 2 * BINARY[:256]]), tmp_path)


def test_a_model_without_z_has_them_too(tmp_path: Path) -> None:
    decoder = GatedPixelCNNDecoder(0, SHAPE, channels=3, num_layers=1)
    record = record_of(with_zero_weights(Autoregressive(decoder)), BINARY, tmp_path)
    assert record["nll_bits_per_dim"] == record["elbo_bits_per_dim"] == pytest.approx(1.0)


def test_a_fit_says_first_that_grey_values_have_no_bernoulli_likelihood(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    for x, said in ((BYTES, 1), (BINARY, 0)):
        caplog.clear()
        model = VAE(MLPEncoder(2, SHAPE, hidden_dim=2), MLPDecoder(2, SHAPE, hidden_dim=2))
        make_trainer(Path(), logger=False, max_epochs=2).fit(model, DataLoader(TensorDataset(x), batch_size=512))
        assert caplog.text.count("log p(x) is no log-density") == said


def test_bits_of_8_bit_values_are_logged_and_those_of_binary_values_are_not() -> None:
    for likelihood, x in ((Categorical(), BYTES), (Bernoulli(), BINARY)):
        decoder = MLPDecoder(2, SHAPE, hidden_dim=2, likelihood=likelihood)
        trainer = make_trainer(Path(), logger=False)
        model = VAE(MLPEncoder(2, SHAPE, hidden_dim=2), decoder)
        trainer.validate(model, DataLoader(TensorDataset(x), batch_size=128), verbose=False)
        assert ("val/elbo_bits_per_dim" in trainer.callback_metrics) == (x is BYTES)
        assert "val/nll_bits_per_dim" not in trainer.callback_metrics
