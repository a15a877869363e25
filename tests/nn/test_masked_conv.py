"""What each masked convolution can see, exactly."""

import pytest
import torch
from torch import Tensor

from skipvae.nn.masked_conv import HorizontalConv2d, MaskType, VerticalConv2d, channel_ranks


def seen_from(convolution: torch.nn.Module, channels: int, pixel: tuple[int, int, int], size: int = 7) -> Tensor:
    """Which inputs (channels, size, size) output `pixel` (channel, row, column) depends on."""
    x = torch.randn(1, channels, size, size, requires_grad=True)
    convolution(x)[(0, *pixel)].backward()
    return x.grad[0] != 0


@pytest.mark.parametrize("mask_type", ["A", "B"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_vertical_convolution_sees_a_block_of_rows(kernel_size: int, mask_type: MaskType) -> None:
    seen = seen_from(VerticalConv2d(2, 3, kernel_size, mask_type), 2, (1, 4, 3))
    reach, last_row = kernel_size // 2, 4 - (mask_type == "A")
    expected = torch.zeros(2, 7, 7, dtype=torch.bool)
    expected[:, last_row - reach : last_row + 1, 3 - reach : 3 + reach + 1] = True
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("mask_type", ["A", "B"])
@pytest.mark.parametrize("reach", [1, 2])
def test_the_horizontal_convolution_of_a_grey_image_needs_no_mask(reach: int, mask_type: MaskType) -> None:
    ranks = channel_ranks(2, 1)
    convolution = HorizontalConv2d(ranks, ranks, reach, mask_type)
    expected = torch.zeros(2, 7, 7, dtype=torch.bool)
    expected[:, 4, 3 - reach : 3 + (mask_type == "B")] = True
    assert torch.equal(seen_from(convolution, 2, (1, 4, 3)), expected)
    assert convolution.mask is None
    assert convolution.weight.shape[-1] == reach + (mask_type == "B")


@pytest.mark.parametrize("mask_type", ["A", "B"])
def test_a_channel_sees_only_the_earlier_channels_of_its_own_pixel(mask_type: MaskType) -> None:
    in_ranks, out_ranks = channel_ranks(3, 3), channel_ranks(6, 3)
    convolution = HorizontalConv2d(in_ranks, out_ranks, 1, mask_type)
    for channel, rank in enumerate(out_ranks.tolist()):
        expected = torch.zeros(3, 7, 7, dtype=torch.bool)
        expected[:, 4, 2] = True
        expected[: rank + (mask_type == "B"), 4, 3] = True
        assert torch.equal(seen_from(convolution, 3, (channel, 4, 3)), expected)


def test_ranks_are_even_and_in_order() -> None:
    assert channel_ranks(3, 3).tolist() == [0, 1, 2]
    assert channel_ranks(7, 2).tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_masks_are_no_part_of_the_state() -> None:
    convolution = HorizontalConv2d(channel_ranks(2, 2), channel_ranks(4, 2), 1)
    assert convolution.mask is not None
    assert set(convolution.state_dict()) == {"weight", "bias"}
