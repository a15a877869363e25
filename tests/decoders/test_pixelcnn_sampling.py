"""The cached sampler draws what the naive loop draws, and what it draws follows the distribution."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from skipvae.decoders import GatedPixelCNNDecoder
from tests.decoders.test_pixelcnn import ALL, latent, make, with_shapes


@torch.no_grad()
def sample_naively(decoder: GatedPixelCNNDecoder, z: Tensor | None, noise: Tensor) -> Tensor:
    """One pass over the whole image for every pixel and channel."""
    x = torch.zeros_like(noise)
    channels, height, width = decoder.image_shape
    for i, j, c in itertools.product(range(height), range(width), range(channels)):
        probability = decoder.logits(x, z)[:, c, i, j].sigmoid()
        x[:, c, i, j] = (noise[:, c, i, j] < probability).to(x.dtype)
    return x


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("variant", "image_shape"), with_shapes([(1, 6, 7), (2, 5, 4), (3, 7, 3)], [(1, 6, 7)]))
def test_the_same_noise_gives_the_same_images_as_the_naive_loop(
    variant: str, image_shape: tuple[int, int, int]
) -> None:
    decoder = make(image_shape, **ALL[variant])
    z = latent(decoder, 16)
    noise = torch.rand(16, *image_shape, generator=seeded(), dtype=torch.float64)
    images = decoder.sample(z, num_samples=16, generator=seeded())
    assert torch.equal(images, sample_naively(decoder, z, noise))
    assert 0.05 < images.mean() < 0.95


@pytest.mark.parametrize("arguments", [{"kernel_size": [5, 3, 1]}, {"kernel_size": 1}, {"channels": [3, 5, 2]}])
@pytest.mark.parametrize("layer", ["shifted_once", "published"])
def test_any_kernel_and_any_width_of_layer(arguments: dict[str, Any], layer: str) -> None:
    decoder = make((1, 6, 5), latent_dim=2, skip=True, layer=layer, **arguments)
    z = latent(decoder, 8)
    noise = torch.rand(8, 1, 6, 5, generator=seeded(), dtype=torch.float64)
    assert torch.equal(decoder.sample(z, generator=seeded()), sample_naively(decoder, z, noise))


def test_images_appear_as_often_as_their_probability_says() -> None:
    decoder = make((1, 3, 3), latent_dim=2, skip=True)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(0.5)
    z, n = torch.randn(1, 2).double(), 20_000
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9))).double()
    expected = n * decoder.log_prob(every.view(-1, 1, 3, 3), z.expand(512, -1)).detach().exp()
    drawn = decoder.sample(z.expand(n, -1), generator=seeded()).flatten(1)
    place = (drawn @ torch.tensor([2.0**p for p in reversed(range(9))]).double()).long()
    counts = torch.bincount(place, minlength=512)
    common = expected > 5
    chi_squared = ((counts - expected).square() / expected)[common].sum()
    degrees = int(common.sum())
    assert chi_squared < degrees + 4 * (2 * degrees) ** 0.5
    assert degrees > 20


def test_a_seed_fixes_the_images_and_a_preview_is_always_the_same() -> None:
    decoder = make((1, 5, 5), latent_dim=2)
    z = latent(decoder, 4)
    assert z is not None
    first, again, other = (decoder.sample(z, generator=seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(decoder.preview(z), decoder.preview(z))
    assert not torch.equal(decoder.sample(z), decoder.sample(z))


def test_without_latent_variables_the_number_of_images_is_given() -> None:
    decoder = make((1, 4, 4), latent_dim=0)
    assert decoder.sample(None).shape == (1, 1, 4, 4)
    assert decoder.sample(num_samples=5).shape == (5, 1, 4, 4)


def test_an_image_does_not_depend_on_its_batch() -> None:
    decoder = make((1, 4, 4), latent_dim=2)
    z = latent(decoder, 6)
    assert z is not None
    z[3] = z[0]
    noise = torch.rand(6, 1, 4, 4).double()
    noise[3] = noise[0]
    images = sample_naively(decoder, z, noise)
    assert torch.equal(images[3], images[0])


def test_neither_training_nor_autocast_changes_what_is_drawn() -> None:
    decoder = make((1, 5, 5), latent_dim=2, skip=True).float()
    z = torch.randn(500, 2)
    expected = decoder.sample(z, generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(decoder.sample(z, generator=seeded()), expected)
    assert not expected.requires_grad
    decoder(expected, z).sum().backward()  # an image can be trained on


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    decoder = make((2, 6, 5), latent_dim=2, skip=True).cuda()
    z = torch.randn(16, 2, dtype=torch.float64, device="cuda")
    generators = [torch.Generator("cuda").manual_seed(1) for _ in range(2)]
    noise = torch.rand(16, 2, 6, 5, generator=generators[0], dtype=torch.float64, device="cuda")
    assert torch.equal(decoder.sample(z, generator=generators[1]), sample_naively(decoder, z, noise))
