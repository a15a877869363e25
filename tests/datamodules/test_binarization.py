from bisect import bisect_left
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datamodules.binarization import draw_binary
from datamodules.randomness import random_words


def grey_images(count: int, shape: tuple[int, int, int] = (1, 5, 7)) -> torch.Tensor:
    return (random_words(99, torch.arange(count * 35)) & 255).to(torch.uint8).view(count, *shape)


def test_every_grey_level_has_its_probability() -> None:
    n = 20_000
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(n, -1, -1, -1)
    white = (draw_binary(levels, 3, 1) == 255).double().mean(0).flatten()
    grey = torch.arange(256) / 255
    error = (white - grey) / (grey * (1 - grey) / n).sqrt()
    assert white[0] == 0
    assert white[255] == 1
    assert error[1:-1].abs().max() < 4.5  # of 254 standard errors
    assert (error[1:-1] ** 2).sum() < 254 + 5 * (2 * 254) ** 0.5


@settings(deadline=None)
@given(grey=st.integers(0, 255) | st.floats(0, 1, width=32))
@example(grey=0)
@example(grey=255)
@example(grey=0.0)
@example(grey=1.0)
@example(grey=2.0**-24)
def test_probabilities_are_exact(grey: Any) -> None:
    # of all 2^32 numbers that may be drawn, how many make a pixel white: they are the lowest, so a search finds it
    dtype, white_is, tolerance = (torch.uint8, 255, 2**-32) if isinstance(grey, int) else (torch.float32, 1, 2**-31)

    def white(number: int) -> bool:
        words = torch.full((1, 2), number - (1 << 31), dtype=torch.int32).view(torch.int64)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("datamodules.binarization.random_words", lambda *counters: words)
            drawn = draw_binary(torch.full((1, 1, 1, 2), grey, dtype=dtype)).flatten().tolist()
        assert drawn in ([0, 0], [255, 255])
        return drawn == [255, 255]

    count = bisect_left(range(2**32), True, key=lambda number: not white(number))
    assert abs(count / 2**32 - grey / white_is) < tolerance
    assert count in (0, 2**32) or grey not in (0, white_is)


def test_pixels_epochs_and_examples_are_independent() -> None:
    n, side = 4000, 12
    grey = torch.full((n, 1, side, side), 128, dtype=torch.uint8)
    draws = torch.stack([draw_binary(grey, 2, 0, epoch) for epoch in range(3)]).squeeze(2).double() / 255
    signs = (draws - 128 / 255) / (128 / 255 * 127 / 255) ** 0.5  # (epochs, n, H, W), mean 0 and variance 1
    for first, second in [
        (signs[0], signs[1]),  # the next epoch
        (signs[0], signs[2]),
        (signs[..., :-1], signs[..., 1:]),  # the next pixel: half of these share a word
        (signs[..., :-1, :], signs[..., 1:, :]),
        (signs[:, :-1], signs[:, 1:]),  # the next example
    ]:
        products = first * second
        assert products.mean().abs() < 4.5 / products.numel() ** 0.5
    # one pixel over examples: a chi-square test of the pairs of neighbouring pixels, 3 degrees of freedom each
    pairs = 2 * draws[0].flatten(1)[:, 0::2] + draws[0].flatten(1)[:, 1::2]
    p = 128 / 255
    expected = n * torch.tensor([(1 - p) ** 2, p * (1 - p), p * (1 - p), p**2], dtype=torch.double)
    counts = torch.stack([(pairs == value).sum(0) for value in range(4)], dim=-1)
    chi_square = ((counts - expected) ** 2 / expected).sum(-1)
    assert chi_square.max() < 30  # exceeded with probability 1e-6 each
    assert abs(chi_square.mean() - 3) < 5 * (6 / len(chi_square)) ** 0.5


@settings(deadline=None)
@given(st.integers(1, 40), st.sampled_from([(1, 5, 7), (5, 7, 1), (1, 35, 1), (7, 1, 5)]))
def test_an_image_depends_only_on_its_place(count: Any, shape: Any) -> None:
    images = grey_images(40, shape)
    assert draw_binary(images, 1)[:count].equal(draw_binary(images[:count].clone(), 1))


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    images = grey_images(64)
    whole = draw_binary(images, 5, 6)
    monkeypatch.setattr("datamodules.binarization._CHUNK", 7)
    assert draw_binary(images, 5, 6).equal(whole)


def test_binary_images_stay_as_they_are_and_the_input_too() -> None:
    images = grey_images(30)
    before = images.clone()
    binary = draw_binary(images, 0)
    assert images.equal(before)
    assert set(binary.unique().tolist()) == {0, 255}
    assert draw_binary(binary, 1).equal(binary)
    assert draw_binary(binary / 255, 1).equal(binary)  # floats, too, to bytes


def test_other_counters_give_other_draws() -> None:
    grey = torch.full((2, 1, 8, 8), 128, dtype=torch.uint8)
    draws = {bytes(draw_binary(grey, *counters).numpy()) for counters in [(0,), (1,), (0, 0), (0, 1), (1, 0)]}
    assert len(draws) == 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same_pixels() -> None:
    images = grey_images(3000)
    for grey in (images, images / 257):
        assert draw_binary(grey.cuda(), 1, 2).cpu().equal(draw_binary(grey, 1, 2))
