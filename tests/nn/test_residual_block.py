"""The residual block with group norm, and the sizes of its maps."""

import pytest
import torch

from skipvae.nn.residual_block import GroupNormBlock, map_sizes


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (4, 1), (6, 1), (8, 2), (12, 1), (16, 4), (64, 8)])
def test_a_group_has_four_channels_or_all(channels: int, groups: int) -> None:
    assert GroupNormBlock(channels).norm1.num_groups == groups


@pytest.mark.parametrize("channels", [1, 4, 8])
def test_the_skip_is_not_normalized_away(channels: int) -> None:
    torch.manual_seed(0)
    block, h = GroupNormBlock(channels), torch.randn(2, channels, 5, 3)
    assert torch.equal(block(h), h)  # the identity at the start
    torch.nn.init.normal_(block.conv2.weight)
    without, by_zero, by_one = block(h), block(h, torch.zeros(2, channels)), block(h, torch.ones(2, channels))
    assert torch.equal(by_zero, without)
    assert (by_one - without).abs().mean() > 0.1


def test_maps_are_halved_rounded_up() -> None:
    assert map_sizes(28, 28, [8] * 4, 1) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert map_sizes(64, 33, [8] * 3, 2) == [(64, 33), (32, 17), (16, 9)]
    assert map_sizes(1, 1, [8], 1) == [(1, 1)]
    for height, width, channels, num_blocks in ((3, 9, [4, 4, 4], 1), (9, 9, [], 1), (9, 9, [4], 0), (9, 9, [0], 1)):
        with pytest.raises(ValueError, match=r"do not fit .* pixels"):
            map_sizes(height, width, channels, num_blocks)
