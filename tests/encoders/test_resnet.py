"""The ResNet encoder: the authors' sizes, any image, and evaluation that treats every image alone."""

import math
import shutil

import pytest
import torch

from skipvae.encoders import Encoder, ResNetEncoder
from skipvae.persistence.spec import build


def test_the_authors_sizes() -> None:
    encoder = ResNetEncoder()
    sizes = []
    h = torch.zeros(2, 1, 28, 28)
    for module in encoder.blocks:
        h = module(h)
        sizes.append(h.shape[1:])
    assert [tuple(size) for size in sizes[1::2]] == [(64, 14, 14), (64, 7, 7), (64, 3, 3)]
    assert encoder.output.weight.shape == (40, 576)
    shortcuts = [sum(p.numel() for p in block.shortcut.parameters()) for block in encoder.blocks[::2]]
    assert shortcuts == [128, 0, 0]  # only the first block changes the number of channels


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 32, 20), (2, 9, 8)])
def test_any_image_shape(image_shape: tuple[int, int, int]) -> None:
    posterior = ResNetEncoder(5, image_shape, channels=[4, 8, 8])(torch.rand(3, *image_shape))
    assert posterior.mean.shape == posterior.logvar.shape == (3, 5)


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    encoder = ResNetEncoder(3, (1, 12, 12), channels=[4, 4, 6])
    posterior = encoder(torch.rand(4, 1, 12, 12))
    (posterior.mean.square().sum() + posterior.logvar.exp().sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_in_evaluation_an_image_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    encoder, x = ResNetEncoder(3, (1, 12, 12), channels=[4, 4]), torch.rand(8, 1, 12, 12)
    for _ in range(3):
        encoder(x)
    assert not torch.allclose(encoder(x).mean[:2], encoder(x[:2]).mean, atol=1e-3)
    encoder.eval()
    torch.testing.assert_close(encoder(x).mean[:2], encoder(x[:2]).mean, rtol=1e-5, atol=1e-5)


def test_linear_layers_start_as_he_et_al_say() -> None:
    torch.manual_seed(0)
    weight = ResNetEncoder().output.weight
    expected = math.sqrt(2 / 576)
    assert weight.std().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * weight.numel()))


def test_the_description_builds_the_same_encoder() -> None:
    encoder = ResNetEncoder(2, (1, 8, 8), channels=[4, 6]).eval()
    again = build(encoder.spec, Encoder).eval()
    again.load_state_dict(encoder.state_dict())
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(again(x).mean, encoder(x).mean)


@pytest.mark.parametrize(("image_shape", "channels"), [((1, 7, 9), [4, 4, 4]), ((1, 28, 28), [])])
def test_blocks_that_do_not_fit_are_refused(image_shape: tuple[int, int, int], channels: list[int]) -> None:
    with pytest.raises(ValueError, match="channels"):
        ResNetEncoder(2, image_shape, channels)


def test_a_batch_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="image_shape"):
        ResNetEncoder(2, (1, 8, 8), channels=[4])(torch.zeros(3, 3, 8, 8))


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="compiling needs a C++ compiler"
)
def test_compiled_equals_eager() -> None:
    torch.manual_seed(0)
    encoder = ResNetEncoder(2, (1, 8, 8), channels=[4])
    compiled = ResNetEncoder(2, (1, 8, 8), channels=[4])
    compiled.load_state_dict(encoder.state_dict())
    compiled.compile()
    x = torch.rand(3, 1, 8, 8)
    expected, got = encoder(x), compiled(x)
    torch.testing.assert_close(got.mean, expected.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.logvar, expected.logvar, rtol=1e-4, atol=1e-4)
    assert compiled.state_dict().keys() == encoder.state_dict().keys()
