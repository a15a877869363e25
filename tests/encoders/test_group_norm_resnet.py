"""The general ResNet encoder: any image size and depth, and no number depends on the batch."""

import pytest
import torch
from torch import nn

from skipvae.encoders import Encoder, GroupNormResNetEncoder
from skipvae.persistence.spec import build


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 30, 17)])
def test_images_of_any_size(image_shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    encoder = GroupNormResNetEncoder(5, image_shape, channels=[4, 6, 8], num_blocks=2)
    for block in encoder.layers:
        if not isinstance(block, nn.Conv2d):
            nn.init.normal_(block.conv2.weight, std=0.1)  # at its start, of zeros, conv1 has no gradient
    x = torch.rand(3, *image_shape)
    posterior = encoder.train()(x)
    assert posterior.mean.shape == posterior.logvar.shape == (3, 5)
    torch.testing.assert_close(encoder(x[:1]).mean, posterior.mean[:1])  # in training, too
    torch.testing.assert_close(encoder.eval()(x).mean, posterior.mean, rtol=0, atol=0)
    (posterior.mean.square().sum() + posterior.logvar.exp().sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_two_arguments_say_the_size() -> None:
    def parameters(channels: list[int], num_blocks: int) -> int:
        encoder = GroupNormResNetEncoder(32, (3, 32, 32), channels, num_blocks)
        return sum(weight.numel() for weight in encoder.parameters())

    block = 2 * (9 * 8 * 8 + 8) + 4 * 8  # two convolutions, two norms
    assert parameters([8], 1) == (27 * 8 + 8) + block + 64 * (8 * 1024 + 1)
    assert parameters([8], 3) == parameters([8], 1) + 2 * block
    assert parameters([8, 8], 1) == (27 * 8 + 8) + 2 * block + (72 * 8 + 8) + 64 * (8 * 256 + 1)


def test_the_description_builds_the_same_encoder() -> None:
    encoder = GroupNormResNetEncoder(2, (3, 9, 7), channels=[4, 6])
    again = build(encoder.spec, Encoder)
    again.load_state_dict(encoder.state_dict())
    x = torch.rand(3, 3, 9, 7)
    assert torch.equal(again(x).mean, encoder(x).mean)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit 3 x 9"):
        GroupNormResNetEncoder(2, (1, 3, 9), channels=[4, 4, 4])
    with pytest.raises(ValueError, match="image_shape"):
        GroupNormResNetEncoder(2, (1, 8, 8), channels=[4])(torch.zeros(3, 3, 8, 8))
