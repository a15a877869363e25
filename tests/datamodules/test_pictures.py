"""One picture file to pixels: whatever the format, mode, orientation and size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import pictures
from datamodules.pictures import Format, is_colored, picture_files, read_picture

GREY = Format(4, 6, False, "stretch", 255)
COLOR = GREY._replace(color=True)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def halves(left: tuple[int, ...], right: tuple[int, ...], mode: str = "RGB") -> Image.Image:
    """A picture of 6 x 4 pixels, its left half of one colour and its right half of another."""
    picture = Image.new(mode, (6, 4), left)
    picture.paste(right, (3, 0, 6, 4))
    return picture


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
def test_every_format_gives_its_colours_and_their_grey(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{ending}"
    options = {"quality": 100, "subsampling": 0} if ending == "jpg" else {"lossless": True} if ending == "webp" else {}
    halves(RED, BLUE).save(path, **options)
    pixels = read_picture(path, COLOR)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 4, 6))
    expected = np.zeros((3, 4, 6), dtype=int)
    expected[0, :, :3] = expected[2, :, 3:] = 255
    assert np.abs(pixels - expected).max() <= 3
    grey = read_picture(path, GREY)[0].astype(int)
    assert np.abs(grey[:, :3] - 76).max() <= 3  # 0.299 x 255
    assert np.abs(grey[:, 3:] - 29).max() <= 3  # 0.114 x 255


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA", "CMYK", "1", "L", "YCbCr"])
def test_every_mode_is_read(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("picture." + {"CMYK": "tiff", "YCbCr": "jpg"}.get(mode, "png"))
    halves((0, 0, 0), (255, 255, 255)).convert(mode).save(path, quality=100)
    pixels = read_picture(path, GREY)[0].astype(int)
    assert np.abs(pixels[:, :3]).max() <= 2
    assert np.abs(pixels[:, 3:] - 255).max() <= 2


def test_what_is_transparent_shows_the_background(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    halves((255, 0, 0, 255), (0, 255, 0, 0), "RGBA").save(path)
    for background in (0, 255):
        pixels = read_picture(path, COLOR._replace(background=background))
        assert (pixels[:, :, 3:] == background).all()
        assert (pixels[:, :, :3] == np.array(RED)[:, None, None]).all()
    palette = halves(RED, BLUE).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(path, transparency=palette.getpixel((5, 0)))
    assert (read_picture(path, COLOR._replace(background=7))[:, :, 3:] == 7).all()


def test_sixteen_bits_keep_their_levels(tmp_path: Path) -> None:
    levels = np.repeat(np.linspace(0, 65535, 6).astype(np.uint16)[None], 4, axis=0)
    Image.fromarray(levels).save(tmp_path / "picture.png")
    assert read_picture(tmp_path / "picture.png", GREY)[0, 0].tolist() == [0, 51, 102, 153, 204, 255]


def test_pictures_stand_upright_and_animations_show_their_first_frame(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    halves(RED, BLUE).save(tmp_path / "turned.png", exif=exif)
    turned = read_picture(tmp_path / "turned.png", COLOR)
    assert turned[0, 0].min() > turned[2, 0].max()  # red above, blue below
    assert turned[2, -1].min() > turned[0, -1].max()
    halves(RED, RED).save(tmp_path / "moving.gif", save_all=True, append_images=[halves(BLUE, BLUE)])
    assert (read_picture(tmp_path / "moving.gif", COLOR)[0] == 255).all()


def test_a_wide_picture_is_cropped_padded_or_stretched(tmp_path: Path) -> None:
    wide = Image.new("L", (40, 10), 0)
    wide.paste(255, (15, 0, 25, 10))  # a white square in the middle
    wide.save(tmp_path / "wide.png")

    def read(fit: str) -> np.ndarray:
        return read_picture(tmp_path / "wide.png", Format(10, 10, False, fit, 128))[0]  # type: ignore[arg-type]

    assert (read("crop") == 255).all()
    padded = read("pad")
    assert (padded[:3] == 128).all()
    assert (padded[-3:] == 128).all()
    assert padded[4:6, 4:6].min() > 200
    stretched = read("stretch")
    assert stretched[:, 0].max() == 0
    assert stretched[:, 5].min() == 255


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_a_value_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"\w"):
        read_picture(tmp_path / "broken.png", GREY)
    assert not is_colored(tmp_path / "broken.png")


def test_a_truncated_or_enormous_picture_is_a_value_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="truncated"):
        read_picture(tmp_path / "cut.png", GREY)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 3000)
    with pytest.raises(ValueError, match="more than 3,000 pixels"):
        read_picture(tmp_path / "whole.png", GREY)


def test_colour_is_a_matter_of_the_pixels_and_not_by_the_mode(tmp_path: Path) -> None:
    halves((9, 9, 9), (200, 200, 200)).save(tmp_path / "grey.jpg")
    halves(RED, BLUE).save(tmp_path / "color.png")
    assert not is_colored(tmp_path / "grey.jpg")
    assert is_colored(tmp_path / "color.png")


def test_pictures_are_found_in_order_and_hidden_files_are_not(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "a/1.jpg", "a/notes.txt", ".skipvae/x.png", "a/.hidden.png", "0.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in picture_files(tmp_path)] == [
        "0.gif",
        "a/1.jpg",
        "b/2.PNG",
    ]
