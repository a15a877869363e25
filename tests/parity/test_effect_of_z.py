"""How far another z moves the logits of a network that was not trained yet: as in the published ones, at their sizes.

The published numbers are means over seeds, so ours agree with them within the scatter of the seeds. Ours are over fewer
examples and words, and for the PixelCNN over other digits, none of which changes what is expected. Another
initialisation, shortcut or first state is off by far more.
"""

import re

import pytest
import torch
from torch import Tensor

from datamodules import MNISTDigitsDataModule
from skipvae.decoders import GatedPixelCNNDecoder, LSTMDecoder, MLPDecoder
from tests.parity.arrays import folder, read_json

pytestmark = pytest.mark.slow
K, WORDS = 20, 300


def logits_of_mlp(num_layers: int, skip: bool) -> tuple[Tensor, Tensor]:
    decoder = MLPDecoder(K, num_layers=num_layers, skip=skip)
    one, other = (decoder.logits(None, torch.randn(64, K)) for _ in range(2))
    return one, other


def logits_of_pixelcnn(num_layers: int, skip: bool) -> tuple[Tensor, Tensor]:
    digits = MNISTDigitsDataModule(binarize="none").load().test.images[:2]
    x = (digits > 127).float()
    decoder = GatedPixelCNNDecoder(K, num_layers=num_layers, skip=skip, layer="published")
    one, other = (decoder.logits(x, torch.randn(len(x), K)) for _ in range(2))
    return one, other


def logits_of_lstm(num_layers: int, skip: bool) -> tuple[Tensor, Tensor]:
    decoder = LSTMDecoder(
        32, vocab_size=WORDS, embedding_dim=512, hidden_dim=1024, num_layers=num_layers, skip=skip
    ).eval()
    inputs = torch.randint(4, WORDS, (8, 19))
    inputs[:, 0] = 2
    one, other = (decoder.output(decoder.hidden(inputs, z), z) for z in torch.randn(2, 8, 32))
    return one, other


NETWORKS = {
    "image_mlp": (logits_of_mlp, 3),
    "image_pixelcnn": (logits_of_pixelcnn, 6),
    "text_lstm": (logits_of_lstm, 1),
}
"""And how many seeds are taken."""


@torch.no_grad()
@pytest.mark.skipif(not (folder() / "initialisation.json").is_file(), reason="needs initialisation.json")
@pytest.mark.parametrize("network", NETWORKS)
def test_as_published(network: str) -> None:
    published = read_json("initialisation")["effect_of_z"]["values"][network]
    of_seeds = {setting: torch.tensor(values["rms_change_of_each_seed"]) for setting, values in published.items()}
    scatter = torch.stack([values.std() / values.mean() for values in of_seeds.values()]).square().mean().sqrt()
    logits, num_seeds = NETWORKS[network]
    for setting, theirs in of_seeds.items():
        num_layers, skip = re.fullmatch(r"(\d+) layers?, skip (on|off)", setting).groups()  # type: ignore[union-attr]
        torch.manual_seed(0)
        found = []
        for _ in range(num_seeds):
            one, other = logits(int(num_layers), skip == "on")
            found.append(torch.stack([(one - other).square().mean().sqrt(), one.square().mean().sqrt()]))
        wanted = torch.stack([theirs.mean(), torch.tensor(published[setting]["rms_logit"])])
        tolerance = 6 * scatter * (1 / num_seeds + 1 / len(theirs)) ** 0.5
        off = (torch.stack(found).mean(0) / wanted).log()
        assert (off.abs() < tolerance).all(), f"{setting}: change and size of the logits are off by {off.expm1()}"
