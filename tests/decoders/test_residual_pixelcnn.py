"""The residual PixelCNN is exactly a distribution in evaluation mode, and is sampled from as it says."""

import itertools
from typing import Any

import pytest
import torch

from skipvae.decoders import Decoder, ResidualPixelCNNDecoder
from skipvae.persistence.spec import build

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"latent_dim": 0},
    "latent": {"latent_dim": 2},
    "skip": {"latent_dim": 2, "skip": True, "latent_maps": 3},
}


def make(image_shape: tuple[int, int, int], **arguments: Any) -> ResidualPixelCNNDecoder:
    torch.manual_seed(0)
    decoder = ResidualPixelCNNDecoder(
        image_shape=image_shape, **{"channels": 4, "kernel_sizes": [5, 3, 3, 1]} | arguments
    )
    with torch.no_grad():
        for name, value in decoder.state_dict().items():
            if value.is_floating_point():
                value.uniform_(0.5, 2) if "running_var" in name else value.normal_(0, 0.7)
    return decoder.double().eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_probabilities_of_all_images_sum_to_one_and_z_matters(variant: str) -> None:
    decoder = make((1, 3, 3), **VARIANTS[variant])
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9))).view(-1, 1, 3, 3).double()
    found = []
    for scale in (0.0, 1.0):
        z = torch.full((len(images), 2), scale).double() if decoder.latent_dim else None
        found.append(decoder.log_prob(images, z))
        assert found[-1].exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert torch.equal(*found) == (variant == "plain")


@pytest.mark.parametrize("variant", VARIANTS)
def test_samples_are_those_of_whole_passes(variant: str) -> None:
    decoder = make((1, 6, 7), **VARIANTS[variant])
    z = torch.randn(16, 2).double() if decoder.latent_dim else None
    images = decoder.sample(z, num_samples=16, generator=torch.Generator().manual_seed(1))
    noise = torch.rand(16, 1, 6, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.equal(images, (noise < decoder.logits(images, z).sigmoid()).double())
    assert 0.05 < images.mean() < 0.95
    if z is not None:
        assert torch.equal(decoder.preview(z), decoder.preview(z))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_gets_a_gradient_and_the_description_builds_the_same(variant: str) -> None:
    decoder = make((1, 6, 7), **VARIANTS[variant]).train()
    x, z = torch.rand(3, 1, 6, 7).round().double(), torch.randn(3, 2).double() if decoder.latent_dim else None
    decoder(x, z).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in decoder.parameters())
    again = build(decoder.spec, Decoder).double()
    again.load_state_dict(decoder.state_dict())
    assert torch.equal(again.eval()(x, z), decoder.eval()(x, z))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_sizes": [3, 4, 3]}, "kernel_sizes must be odd, so that a pixel is at its middle, not 4"),
        ({"kernel_sizes": [3, 3]}, "at least three"),
        ({"channels": 5}, "channels is 5"),
        ({"image_shape": (3, 6, 6)}, "one channel, not 3"),
        ({"latent_maps": 0}, "latent_maps"),
        ({"latent_dim": 0, "skip": True}, "skip"),
    ],
)
def test_bad_settings_are_refused_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ResidualPixelCNNDecoder(**{"latent_dim": 2, "image_shape": (1, 6, 6), "channels": 4} | arguments)
    assert "\n" not in str(caught.value)
