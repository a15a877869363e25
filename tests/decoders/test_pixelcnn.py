"""The Gated PixelCNN is exactly a distribution, uses all its parameters, and says what is wrong with bad settings."""

import itertools
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from skipvae.component import build
from skipvae.decoders import Decoder, GatedPixelCNNDecoder

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"latent_dim": 0},
    "latent": {"latent_dim": 2},
    "skip": {"latent_dim": 2, "skip": True},
    "skip, several maps": {"latent_dim": 2, "skip": True, "latent_maps": 3},
    "lists": {"latent_dim": 2, "skip": True, "channels": [4, 6, 6], "kernel_size": [3, 1, 3]},
}
SMALL: dict[str, Any] = {"channels": 4, "num_layers": 3}


def make(image_shape: tuple[int, int, int], **arguments: Any) -> GatedPixelCNNDecoder:
    """A decoder with weights large enough for every dependence to show."""
    torch.manual_seed(0)
    decoder = GatedPixelCNNDecoder(image_shape=image_shape, **SMALL | arguments)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(0, 0.7)
    return decoder.double()


def latent(decoder: GatedPixelCNNDecoder, batch: int) -> Tensor | None:
    return torch.randn(batch, decoder.latent_dim).double() if decoder.latent_dim else None


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("image_shape", "kernel_size"), [((1, 3, 3), 3), ((2, 2, 2), 1), ((3, 1, 4), 1)])
def test_the_probabilities_of_all_images_sum_to_one(
    variant: str, image_shape: tuple[int, int, int], kernel_size: int
) -> None:
    arguments = VARIANTS[variant]
    if kernel_size == 1:
        arguments = arguments | {"kernel_size": 1}
    decoder = make(image_shape, **arguments)
    pixels = image_shape[0] * image_shape[1] * image_shape[2]
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=pixels))).view(-1, *image_shape).double()
    for scale in (0.0, 1.0, 10.0):
        z = latent(decoder, 1)
        z = None if z is None else (scale * z).expand(len(images), -1)
        log_prob = decoder.log_prob(images, z)
        assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-9)
        assert log_prob.std() > 0.1


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("image_shape", [(1, 3, 3), (1, 4, 5), (2, 3, 4), (3, 5, 3)])
def test_a_logit_depends_on_all_earlier_pixels_and_on_no_other(variant: str, image_shape: tuple[int, int, int]) -> None:
    decoder = make(image_shape, **{"num_layers": 3 if variant == "lists" else 6} | VARIANTS[variant])
    channels, height, width = image_shape
    z = latent(decoder, 1)
    jacobian = torch.autograd.functional.jacobian(lambda x: decoder.logits(x, z), torch.rand(1, *image_shape).double())
    in_order = jacobian.view(*image_shape, *image_shape).permute(1, 2, 0, 4, 5, 3)  # rows, columns, then channels
    in_order = in_order.reshape(height * width * channels, height * width * channels)
    assert in_order.triu().eq(0).all()
    if variant != "lists":  # six layers see the whole image, without a blind spot
        assert in_order.tril(-1).ne(0).sum() == in_order.shape[0] * (in_order.shape[0] - 1) // 2
