"""Images as arrays of any layout become the x that the model was trained on."""

from typing import Any

import numpy as np
import pytest
import torch

from skipvae.images.codec import ImageCodec

BYTES = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 5), dtype=np.uint8)


def test_layouts_and_types_give_the_same_x() -> None:
    codec = ImageCodec((3, 6, 5))
    x = codec.encode(BYTES)
    assert x.dtype == torch.float32
    assert torch.equal(x, torch.from_numpy(BYTES) / 255)
    others: list[Any] = [BYTES.transpose(0, 2, 3, 1), torch.from_numpy(BYTES), list(BYTES), BYTES / 255, x]
    for other in others:
        assert torch.allclose(codec.encode(other), x)
    assert np.array_equal(codec.decode(x), x.numpy())
    grey = ImageCodec((1, 6, 5))
    assert torch.equal(grey.encode(BYTES[:, 0]), grey.encode(BYTES[:, :1]))
    assert codec.encode([]).shape == (0, 3, 6, 5)


def test_images_of_a_list_do_not_depend_on_each_other() -> None:
    codec, wanted = ImageCodec((3, 6, 5)), torch.from_numpy(BYTES) / 255
    mixed = [BYTES[0], BYTES[1] / 255, BYTES[2].transpose(1, 2, 0), torch.from_numpy(BYTES[3] / np.float32(255))]
    assert torch.allclose(codec.encode(mixed), wanted)
    for kind in (">f4", "f2", "f8"):
        assert torch.allclose(codec.encode((BYTES / 255).astype(kind)), wanted, atol=1e-3)
    for kind in ("uint16", ">i4", "int64"):
        assert torch.equal(codec.encode(BYTES.astype(kind)), wanted)
    assert codec.encode(BYTES > 99).unique().tolist() == [0.0, 1.0]


def test_a_model_of_black_and_white_sees_black_and_white() -> None:
    codec = ImageCodec((1, 1, 3), '{"binary": true}')
    assert codec.encode(np.array([[[0, 127, 128]]], np.uint8)).flatten().tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (BYTES[:, :1], "3 x 6 x 5"),
        (BYTES[0], "3 x 6 x 5"),
        (BYTES.astype(int) - 1, "no bytes"),
        (np.full((1, 3, 6, 5), np.nan), "not finite"),
        (BYTES.astype(np.uint16) + 256, "no bytes"),
        (BYTES.astype(complex), "complex128 holds no images"),
        (torch.zeros(1, 3, 6, 5, dtype=torch.complex64), "no images"),
        (np.array(["a"]), "holds no images"),
        ([BYTES[0], BYTES[0, :1]], "3 x 6 x 5"),
    ],
)
def test_what_is_no_image_of_the_model_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageCodec((3, 6, 5)).encode(values)


@pytest.mark.parametrize("pictures", ["{", "3", "null"])
def test_a_damaged_description_is_refused(pictures: str) -> None:
    with pytest.raises(ValueError, match="the checkpoint is damaged"):
        ImageCodec((3, 6, 5), pictures)
