"""Images side by side: their places, colours and sizes."""

import pytest
import torch

from skipvae.callbacks.tiles import GREY, LINE, thumbnails, tiles

RED_TO_BLUE = torch.linspace(0, 1, 6).view(6, 1, 1, 1) * torch.tensor([-1.0, 0, 1]).view(3, 1, 1) + torch.tensor(
    [1.0, 0.25, 0]
).view(3, 1, 1)  # (6, 3, 1, 1)


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(30, 17, 2), (17, 30, 2), (4, 4, 16), (64, 40, 1), (100, 7, 1)]
)
def test_images_keep_colours_and_places_and_small_ones_are_enlarged(height: int, width: int, factor: int) -> None:
    picture = tiles(RED_TO_BLUE.expand(6, 3, height, width), columns=4)
    cell_height, cell_width = factor * height + LINE, factor * width + LINE
    assert picture.shape == (3, 2 * cell_height + LINE, 4 * cell_width + LINE)
    for i in range(6):
        top, left = i // 4 * cell_height + LINE, i % 4 * cell_width + LINE
        cell = picture[:, top : top + cell_height - LINE, left : left + cell_width - LINE]
        assert (cell == RED_TO_BLUE[i]).all()
        assert (picture[:, top - LINE : top, left] == GREY).all()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_numbers_of_channels_are_grey(channels: int) -> None:
    images = torch.rand(2, channels, 64, 64)
    picture = tiles(images - 1, 2) if channels == 1 else tiles(images, 2)
    assert 0 <= picture.min() <= picture.max() <= 1
    assert torch.equal(picture[0], picture[2])
    if channels > 1:
        torch.testing.assert_close(picture[0, LINE:-LINE, LINE : 64 + LINE], images[0].mean(0))


def test_thumbnails_are_small_squares_in_colour() -> None:
    small = thumbnails(RED_TO_BLUE.expand(6, 3, 30, 17))
    assert small.shape == (6, 3, 30, 30)
    assert (small[..., 6:23] == RED_TO_BLUE).all()
    assert (small[..., :6] == GREY).all()
    assert (small[..., 23:] == GREY).all()
    large = thumbnails(RED_TO_BLUE[:, :1].expand(6, 1, 128, 256))
    assert large.shape == (6, 3, 64, 64)
    torch.testing.assert_close(large[:, 2, 16:48], RED_TO_BLUE[:, 0].expand(6, 32, 64))
