"""The Gated PixelCNN is exactly a distribution, uses all its parameters, and says what is wrong with bad settings."""

import itertools
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from skipvae import Autoregressive
from skipvae.decoders import Decoder, GatedPixelCNNDecoder
from skipvae.persistence.checkpoint import check_fits
from skipvae.persistence.spec import build

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"latent_dim": 0},
    "latent": {"latent_dim": 2},
    "skip": {"latent_dim": 2, "skip": True},
    "skip, several maps": {"latent_dim": 2, "skip": True, "latent_maps": 3},
    "lists": {"latent_dim": 2, "skip": True, "channels": [4, 6, 6], "kernel_size": [3, 1, 3]},
}
PUBLISHED = {
    f"{layer}, {name}": {"layer": layer} | arguments
    for layer, names in {"published": list(VARIANTS), "kim2018": ["plain", "skip", "lists"]}.items()
    for name, arguments in VARIANTS.items()
    if name in names
}
"""The layers of published code, which take images of one channel."""
ALL = VARIANTS | PUBLISHED


def with_shapes(shapes: list[Any], grey: list[Any]) -> list[tuple[str, Any]]:
    """Every variant with every shape: the published layer with those of one channel alone."""
    return [*itertools.product(VARIANTS, shapes), *itertools.product(PUBLISHED, grey)]


SMALL: dict[str, Any] = {"channels": 4, "num_layers": 3}


def make(image_shape: tuple[int, int, int], **arguments: Any) -> GatedPixelCNNDecoder:
    """A decoder with weights large enough for every dependence to show."""
    torch.manual_seed(0)
    decoder = GatedPixelCNNDecoder(image_shape=image_shape, **SMALL | arguments)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(0, 0.7)
        decoder.output.bias.zero_()  # type: ignore[union-attr]
        decoder.output.weight -= decoder.output.weight.mean()  # type: ignore[union-attr]  # else all pixels are white
    return decoder.double()


def latent(decoder: GatedPixelCNNDecoder, batch: int) -> Tensor | None:
    return torch.randn(batch, decoder.latent_dim).double() if decoder.latent_dim else None


@pytest.mark.parametrize(
    ("variant", "shape"),
    with_shapes([((1, 3, 3), 3), ((2, 2, 2), 1), ((3, 1, 4), 1)], [((1, 3, 3), 3), ((1, 1, 6), 1)]),
)
def test_the_probabilities_of_all_images_sum_to_one(variant: str, shape: tuple[tuple[int, int, int], int]) -> None:
    arguments = ALL[variant]
    image_shape, kernel_size = shape
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


@pytest.mark.parametrize(
    ("variant", "image_shape"), with_shapes([(1, 3, 3), (1, 4, 5), (2, 3, 4), (3, 5, 3)], [(1, 4, 5)])
)
def test_a_logit_depends_on_all_earlier_pixels_and_on_no_other(variant: str, image_shape: tuple[int, int, int]) -> None:
    decoder = make(image_shape, **{"num_layers": 3 if variant.endswith("lists") else 6} | ALL[variant])
    channels, height, width = image_shape
    z = latent(decoder, 1)
    jacobian = torch.autograd.functional.jacobian(lambda x: decoder.logits(x, z), torch.rand(1, *image_shape).double())
    in_order = jacobian.view(*image_shape, *image_shape).permute(1, 2, 0, 4, 5, 3)  # rows, columns, then channels
    in_order = in_order.reshape(height * width * channels, height * width * channels)
    assert in_order.triu().eq(0).all()
    if variant not in ("lists", *PUBLISHED):  # six layers see the whole image, without a blind spot
        assert in_order.tril(-1).ne(0).sum() == in_order.shape[0] * (in_order.shape[0] - 1) // 2


@pytest.mark.parametrize(("variant", "image_shape"), with_shapes([(1, 6, 5), (3, 6, 5)], [(1, 6, 5)]))
def test_every_parameter_gets_a_gradient(variant: str, image_shape: tuple[int, int, int]) -> None:
    decoder = make(image_shape, **ALL[variant])
    x = torch.rand(2, *image_shape).round().double()
    decoder(x, latent(decoder, 2)).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_z_reaches_the_output_through_every_layer_only_with_skip() -> None:
    for skip in (False, True):
        decoder = make((1, 5, 5), latent_dim=2, skip=skip)
        z = latent(decoder, 1)
        maps = decoder.latent_maps_of(z)
        assert [m is not None for m in maps] == [True] + [skip] * 3
        assert decoder.maps is not None
        assert len(decoder.maps.linear.weight) == 25 * (4 if skip else 1)


def test_a_list_of_sizes_makes_the_stack_of_he_et_al() -> None:
    sizes = [9] * 3 + [7] * 3 + [5] * 3 + [3] * 3
    decoder = GatedPixelCNNDecoder(num_layers=12, kernel_size=sizes, latent_maps=4)
    assert [layer.vertical.kernel_size for layer in decoder.layers] == [(k // 2 + 1, k) for k in sizes]
    assert decoder.logits(torch.zeros(2, 1, 28, 28), torch.zeros(2, 20)).shape == (2, 1, 28, 28)


def test_the_description_builds_the_same_decoder() -> None:
    decoder = GatedPixelCNNDecoder(2, (1, 5, 5), channels=[4, 6], num_layers=2, kernel_size=[3, 5], skip=True)
    again = build(decoder.spec, Decoder)
    again.load_state_dict(decoder.state_dict())
    x, z = torch.rand(3, 1, 5, 5).round(), torch.randn(3, 2)
    assert torch.equal(again(x, z), decoder(x, z))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 4}, "odd"),
        ({"kernel_size": 7}, "larger than the 6 x 5 image"),
        ({"kernel_size": [3, 3]}, "kernel_size has 2 entries for num_layers=3"),
        ({"channels": [4]}, "channels has 1 entries for num_layers=3"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"image_shape": (3, 6, 5), "channels": 2}, "at least the 3 channels"),
        ({"latent_maps": 0}, "latent_maps"),
        ({"latent_dim": 0, "skip": True}, "skip"),
        ({"layer": "dense"}, "layer is 'dense': choose from shifted_once, published, kim2018"),
        ({"layer": "published", "image_shape": (3, 6, 5)}, "images of one channel, not 3: take layer=shifted_once"),
    ],
)
def test_bad_settings_are_refused_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        GatedPixelCNNDecoder(**{"latent_dim": 2, "image_shape": (1, 6, 5), "num_layers": 3, "channels": 4} | arguments)
    assert "\n" not in str(caught.value)


def test_a_batch_of_another_shape_is_refused() -> None:
    decoder = GatedPixelCNNDecoder(2, (1, 6, 5), channels=4, num_layers=2)
    with pytest.raises(ValueError, match="image_shape"):
        decoder(torch.zeros(3, 1, 5, 6), torch.zeros(3, 2))


def test_bfloat16_keeps_the_likelihood_close_and_in_float32() -> None:
    torch.manual_seed(0)
    decoder = GatedPixelCNNDecoder(4, (1, 16, 16), channels=8, num_layers=3, skip=True)
    x, z = torch.rand(32, 1, 16, 16).round(), torch.randn(32, 4)
    exact = decoder(x, z)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = decoder(x, z)
    assert rounded.dtype == torch.float32
    # 256 pixels, each logit off by about 2^-9 of its size in either direction: far below 0.3 nats on average.
    assert (rounded - exact).mean().abs() < 0.1
    assert not torch.equal(rounded, exact)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="compiling needs a C++ compiler"
)
def test_compiled_equals_eager() -> None:
    torch.manual_seed(0)
    decoder = GatedPixelCNNDecoder(2, (1, 8, 8), channels=4, num_layers=2, skip=True)
    compiled = GatedPixelCNNDecoder(2, (1, 8, 8), channels=4, num_layers=2, skip=True)
    compiled.load_state_dict(decoder.state_dict())
    compiled.compile()
    x, z = torch.rand(3, 1, 8, 8).round(), torch.randn(3, 2)
    results = []
    for model in (decoder, compiled):
        log_prob = model(x, z)
        log_prob.sum().backward()
        results.append((log_prob.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])))
    for eager, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, eager, rtol=1e-4, atol=1e-4)
    assert compiled.state_dict().keys() == decoder.state_dict().keys()
    assert torch.equal(compiled.preview(z), decoder.preview(z))


def test_a_checkpoint_of_the_other_layer_is_refused_by_name() -> None:
    settings: dict[str, Any] = {"latent_dim": 0, "image_shape": (1, 6, 5), "num_layers": 2, "channels": 4}
    ours, published = (
        Autoregressive(GatedPixelCNNDecoder(**settings, **layer)) for layer in ({}, {"layer": "published"})
    )
    content = {"state_dict": ours.state_dict(), "skipvae": {"model": ours.spec}}
    with pytest.raises(ValueError, match=r"decoder\.layer is shifted_once there and published here, so that"):
        check_fits(content, published)
    check_fits(content, ours)
