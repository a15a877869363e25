"""Checkpoints that version 0.1.0 wrote, before the networks became those of the authors, compute what they did then."""

from pathlib import Path

import pytest
import torch

from skipvae.models import GenerativeModel

WRITTEN = Path(__file__).parent / "checkpoints"
"""Models that three steps trained, each beside what it computed: x, z, log p(x|z), mean and log-variance of q(z|x)."""


@pytest.mark.parametrize("name", ["mlp", "mlp_skip", "pixelcnn_skip", "lstm_skip"])
def test_a_checkpoint_of_the_first_version_computes_what_it_did(name: str) -> None:
    then = torch.load(WRITTEN / f"{name}.pt", weights_only=True)
    model = GenerativeModel.load_from_checkpoint(WRITTEN / f"{name}.ckpt")
    with torch.no_grad():
        posterior = model.infer(then["x"])
        torch.testing.assert_close(posterior.mean, then["mean"])
        torch.testing.assert_close(posterior.logvar, then["logvar"])
        torch.testing.assert_close(model.decoder(then["x"], then["z"]), then["log_prob"])
