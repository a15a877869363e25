"""The model side of `skipvae explore`, without a page: dimensions, codes, values, neighbours, own inputs, examples."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from skipvae import VAE
from skipvae.cli.explore.explorer import Explorer
from skipvae.cli.explore.gallery import gallery
from skipvae.cli.explore.inputs import own_input, splits_of, typed
from skipvae.cli.generate_options import Explore
from skipvae.decoders import GatedPixelCNNDecoder
from skipvae.encoders import MLPEncoder
from skipvae.models.test_split import Examples
from skipvae.training.codecs import codec_of
from tests.cli.test_encode import color_model
from tests.command_line import error_of
from tests.models.test_values import image_model, table_model, text_model


def explorer(model: VAE, x: torch.Tensor, label: torch.Tensor | None = None, **options: Any) -> Explorer:
    return Explorer(model, {"training": Examples(x, label)}, **options)


def test_dimensions_are_sorted_by_their_kl() -> None:
    model, x, counts = image_model(), torch.rand(70, 1, 28, 28), list[int]()
    with torch.no_grad():
        model.encoder.layers[-1].bias[0] = 4.0  # a mean further away than three standard deviations of the prior
    found = explorer(model, x, advance=counts.append)
    posterior = model.infer(x)
    kl = posterior.kl().mean(0).detach()
    assert [each.number for each in found.dimensions] == kl.argsort(descending=True).tolist()
    assert [each.kl for each in found.dimensions] == pytest.approx(kl.sort(descending=True).values.tolist(), rel=1e-5)
    reach = posterior.mean.abs().amax(0).clamp(min=3)[[each.number for each in found.dimensions]]
    assert reach.max() > 3
    assert [each.reach for each in found.dimensions] == pytest.approx(reach.tolist(), rel=1e-5)
    assert counts == [64, 6]


def test_the_nearest_examples_have_the_nearest_posterior_means() -> None:
    model = text_model()
    sentences = ["a b c", "b", "c c c a", "a", "b b"]  # encoded by length, and yet in their order
    model.codecs["label_names"] = json.dumps(["odd", "even"])
    found = explorer(model, model_x(model, sentences), torch.tensor([0, 1, 0, 1, 2]))
    means = model.encode(sentences).mean
    assert found.means == pytest.approx(means, abs=1e-6)
    nearest = found.nearest(means[2], 3)
    distances = np.linalg.norm(means - means[2], axis=1)
    assert [row for row, _ in nearest] == distances.argsort()[:3].tolist()
    assert nearest[0][0] == 2
    assert [distance for _, distance in nearest] == pytest.approx(np.sort(distances)[:3].tolist(), abs=1e-6)
    assert [found.label("training", row) for row in (0, 1, 4)] == ["odd", "even", "class 2"]
    assert found.values(found.splits["training"].x[[row for row, _ in nearest]])[0] == "c c c a"


def model_x(model: VAE, values: Any) -> torch.Tensor:
    return codec_of(model).encode(values)


def test_codes_are_decoded_as_the_model_decodes_them() -> None:
    model = table_model()
    found, row = Explorer(model), [[180.0, 2.5]]
    code = found.code(model_x(model, row))
    assert code == pytest.approx(model.encode(row).mean[0])
    assert found.decode(code[None]) == pytest.approx(model.decode(code[None]))
    line = found.line(code, -code, 5)
    assert line.shape == (5, 2)
    assert line[[0, 2, 4]] == pytest.approx(np.stack([code, 0 * code, -code]))
    draws = np.stack([found.prior(number) for number in range(200)])
    assert len(np.unique(draws)) == draws.size
    assert np.array_equal(draws[3], Explorer(model).prior(3))
    assert draws.mean(0) == pytest.approx([0, 0], abs=4 / 200**0.5)


def test_without_training_examples_the_rest_works() -> None:
    found = Explorer(text_model())
    assert [tuple(each) for each in found.dimensions] == [(0, None, 3.0), (1, None, 3.0)]
    assert found.nearest(found.prior(0), 3) == []
    assert len(found.decode(found.prior(0)[None])) == 1


def test_a_draw_of_pixels_is_the_same_each_time() -> None:
    shape: dict[str, Any] = {"latent_dim": 2, "image_shape": (1, 4, 4)}
    decoder = GatedPixelCNNDecoder(**shape, channels=4, num_layers=2)
    found = Explorer(VAE(MLPEncoder(**shape, hidden_dim=8), decoder))
    z, state = np.zeros((1, 2), np.float32), torch.get_rng_state()
    assert np.array_equal(found.decode(z), found.decode(z))
    assert torch.equal(torch.get_rng_state(), state)


def test_own_inputs_are_read_as_encode_reads_them(workspace: Path) -> None:
    model = table_model()
    x = torch.tensor([[1.0, -1.0]])
    for text in ("180, 2.5", "180\t2.5", "180;2.5", "wide,name,tall\n\n2.5,x,180\n"):
        assert torch.equal(own_input(model, "a.ckpt", *typed(model, text)), x)
    for text, message in (
        ("", "the row is empty"),
        ("180", "row cannot be used"),
        ("tall,wide\n1,2\n3,4", "row holds 2 inputs: give one"),
        ("tall,narrow\n1,2", "'wide'"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            own_input(model, "a.ckpt", *typed(model, text))
        assert "/" not in str(error.value)
    model = text_model()
    assert torch.equal(own_input(model, "a.ckpt", *typed(model, "a\nb nonsense")), model_x(model, ["a b nonsense"]))
    with pytest.raises(ValueError, match="is the token for padding"):
        own_input(model, "a.ckpt", *typed(model, "a <eos>"))
    picture, file = Image.new("RGB", (16, 8), (255, 0, 0)), io.BytesIO()
    picture.save(file, "PNG")
    padded = torch.zeros(1, 3, 8, 8)
    padded[:, 0, 2:6] = 1
    assert torch.equal(own_input(color_model(), "a.ckpt", "wide.png", file.getvalue()), padded)
    with pytest.raises(ValueError, match=r"broken.png cannot be used"):
        own_input(color_model(), "a.ckpt", "broken.png", b"no")
    assert not list(workspace.iterdir())


def test_examples_are_those_of_the_run(tiny_run: Path) -> None:
    checkpoint = str(tiny_run / "checkpoints" / "best.ckpt")
    splits, reason = splits_of(image_model(), Explore(ckpt_path=checkpoint, num=30))
    assert reason == ""
    assert len(splits["training"].x) == 30
    assert 30 < len(splits["test"].x) <= 1000
    (tiny_run / "config.yaml").unlink()
    splits, reason = splits_of(image_model(), Explore(ckpt_path=checkpoint))
    assert splits == {}
    assert reason.startswith("no test and training examples: there is no config.yaml beside")


def test_pictures_keep_their_colors_and_shape() -> None:
    image = np.zeros((1, 3, 2, 4), np.float32)
    image[0, 0] = 1
    html = gallery(image, ["a < b\n2"], side=96)
    assert "a &lt; b<br>2" in html
    assert "width:96px;height:48px" in html
    pixels = Image.open(io.BytesIO(_png(html)))
    assert (pixels.mode, pixels.size, pixels.getpixel((0, 0))) == ("RGB", (4, 2), (255, 0, 0))
    grey = Image.open(io.BytesIO(_png(gallery(np.full((1, 1, 2, 2), 0.2), [""]))))
    assert (grey.mode, grey.getpixel((1, 1))) == ("L", 51)


def _png(html: str) -> bytes:
    from base64 import b64decode

    return b64decode(html.partition("base64,")[2].partition('"')[0])


def test_ports_and_a_missing_library_are_one_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image_model().save_checkpoint("a.ckpt")
    assert "port is 70000: give one from 1 to 65535" in error_of(
        capsys, "explore", "--ckpt_path=a.ckpt", "--port=70000"
    )
    monkeypatch.setattr("skipvae.cli.explore.find_spec", lambda _: None)
    message = error_of(capsys, "explore", "--ckpt_path=a.ckpt")
    assert message == "explore needs bokeh: pip install 'skipvae[explore]'"
