"""Every command with colour images that are not square: a fit, a test, and what is drawn."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import read_image

from datamodules import ArrayDataModule
from skipvae import VAE, Autoregressive
from skipvae.callbacks.labelled_grid import SMALLEST_ROW
from skipvae.callbacks.tiles import LINE, tiles
from skipvae.cli import main
from skipvae.decoders import GatedPixelCNNDecoder, MLPDecoder, ResNetDecoder
from skipvae.encoders import MLPEncoder
from skipvae.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Likelihood,
    Measure,
)
from skipvae.models.test_split import first_test_examples
from tests.callbacks.tiny import make_loader, make_trainer, read_events
from tests.command_line import CONFIG, QUIET, error_of, run

SHAPE = (3, 30, 17)
RUN = Path("lightning_logs/color/version_0")
OPTIONS = (
    *("--config", str(CONFIG), "--name=color", *QUIET, "--trainer.max_epochs=2", "--data=ArrayDataModule"),
    *(
        "--data.train=images.npz",
        "--data.batch_size=20",
        "--model.encoder.hidden_dim=8",
        "--model.decoder=ResNetDecoder",
    ),
    *("--model.decoder.latent_dim=3", "--model.decoder.channels=[8,4]", "--model.decoder.skip=true"),
    *("--model.decoder.likelihood=skipvae.likelihoods.DiscretizedLogistic", "--model.num_importance_samples=10"),
)


@pytest.fixture(scope="module")
def trained_in_color(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a model was trained on red and blue images."""
    folder = tmp_path_factory.mktemp("color")
    generator, labels = np.random.default_rng(0), np.arange(100) % 2
    images = generator.integers(0, 60, (100, 30, 17, 3), dtype=np.uint8)
    images[labels == 0, ..., 0] += 180
    images[labels == 1, ..., 2] += 180
    np.savez(folder / "images.npz", images=images, labels=labels)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        run(["fit", *OPTIONS])
        run(["test", "--ckpt_path=last", *QUIET])
    return folder


@pytest.fixture
def color_run(trained_in_color: Path, workspace: Path) -> Path:
    """A copy of it in the working folder."""
    shutil.copytree(trained_in_color, workspace, dirs_exist_ok=True)
    return RUN


def picture(path: str) -> Tensor:
    """(3, rows, columns) in [0, 1]."""
    return read_image(path) / 255


def model() -> VAE:
    found: VAE = VAE.load_from_checkpoint(RUN / "checkpoints/last.ckpt")
    return found


def test_bits_and_labels_are_measured(color_run: Path) -> None:
    (path,) = color_run.rglob("metrics.json")
    record = json.loads(path.read_text())
    assert (record["measure"], record["num_dimensions"]) == (Measure.BYTES, 3 * 30 * 17)
    assert record["nll_bits_per_dim"] < record["elbo_bits_per_dim"] < 16
    assert record["probe_accuracy"] == 1.0


def test_tensorboard_shows_colours(color_run: Path) -> None:
    events = read_events(color_run)
    data = ArrayDataModule("images.npz")
    data.setup()
    inputs = data.splits.val.images[:8]
    drawn = np.asarray(Image.open(io.BytesIO(events.Images("images/reconstructions")[-1].encoded_image_string)))
    row = torch.as_tensor(drawn.copy()).permute(2, 0, 1)[:, LINE : LINE + 60 : 2, LINE : LINE + 8 * (34 + LINE)]
    shown = row.unfold(2, 34, 34 + LINE)[..., ::2]  # (3, 30, 8, 17)
    assert torch.equal(shown.permute(2, 0, 1, 3), inputs)
    samples, traversals = (events.Images(f"images/{name}")[-1] for name in ("samples", "traversals"))
    width = 8 * (34 + LINE) + LINE
    assert (samples.height, samples.width) == (2 * (60 + LINE) + LINE, width)
    assert traversals.height == SMALLEST_ROW + 3 * (60 + LINE) + LINE
    assert traversals.width > width  # by the labels
    (sprite,) = color_run.rglob("sprite.png")
    thumbnail = np.asarray(Image.open(sprite))[:30, :30, :3].transpose(2, 0, 1)
    assert np.array_equal(thumbnail[:, :, 6:23], inputs[0].numpy())


def test_draws_means_reconstructions_and_interpolations_are_those_of_the_model(color_run: Path) -> None:
    for options in ([], ["--mean"]):
        main(["sample", "--ckpt_path=last", "--num=6", "--columns=3", "--seed=4", "--output=s.png", *options])
        torch.manual_seed(4)
        expected = tiles(model().sample(6, mean=bool(options)), 3)
        torch.testing.assert_close(picture("s.png"), expected, atol=0.51 / 255, rtol=0)
    main(["reconstruct", "--ckpt_path=last", "--num=4", "--output=r.png"])
    inputs = first_test_examples(ArrayDataModule("images.npz"), 4).x
    expected = tiles(torch.cat([inputs, model().reconstruct(inputs)]), 4)
    torch.testing.assert_close(picture("r.png"), expected, atol=0.51 / 255, rtol=0)
    main(["interpolate", "--ckpt_path=last", "--num=2", "--steps=5", "--output=i.png"])
    path = model().interpolate(inputs[:2], inputs[2:], 5)
    torch.testing.assert_close(picture("i.png"), tiles(path.flatten(0, 1), 5), atol=0.51 / 255, rtol=0)


def test_predictions_are_written(color_run: Path) -> None:
    main(["predict", "--ckpt_path=last", *QUIET])
    (path,) = color_run.rglob("predictions.csv")
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + 10
    assert lines[0].count("mean") == 3


def test_arrays_that_have_changed_since_the_training_are_reported(color_run: Path) -> None:
    with np.load("images.npz") as arrays:
        np.savez("images.npz", images=arrays["images"][::-1], labels=arrays["labels"][::-1])
    with pytest.warns(UserWarning, match="not those of the checkpoint"):
        main(["test", "--ckpt_path=last", *QUIET])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "likelihood",
    [Bernoulli(), ContinuousBernoulli(), Categorical(), DiscretizedLogistic(2), Gaussian(), Gaussian(dequantize=True)],
    ids=lambda likelihood: type(likelihood).__name__,
)
def test_every_likelihood_has_draws_and_means_of_images(likelihood: Likelihood, channels: int) -> None:
    shape = (channels, 6, 5)
    x = torch.randint(256, (4, *shape), generator=torch.Generator().manual_seed(0)) / 255
    for decoder in (
        MLPDecoder(2, shape, hidden_dim=4, likelihood=likelihood),
        ResNetDecoder(2, shape, channels=[4, 2], likelihood=likelihood),
    ):
        vae = VAE(MLPEncoder(2, shape, hidden_dim=4), decoder)
        torch.manual_seed(0)
        draws = vae.sample(4)
        likelihood.check(draws)
        torch.manual_seed(0)
        means = vae.sample(4, mean=True)
        assert not torch.equal(draws, means)
        assert draws.shape == means.shape == vae.reconstruct(x).shape == x.shape
        assert vae.interpolate(x[:2], x[2:], 3).shape == (2, 3, *shape)
        assert tiles(means, 2).isfinite().all()


def test_a_mean_that_there_is_not_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixelcnn = GatedPixelCNNDecoder(2, (1, 4, 4), channels=2, num_layers=1)
    without_z = GatedPixelCNNDecoder(0, (1, 4, 4), channels=2, num_layers=1)
    for model in (VAE(MLPEncoder(2, (1, 4, 4), hidden_dim=4), pixelcnn), Autoregressive(without_z)):
        trainer = make_trainer(workspace)
        trainer.validate(model, make_loader(4), verbose=False)  # a checkpoint is of a trainer's model
        trainer.save_checkpoint("model.ckpt")
        said = error_of(capsys, "sample", "--ckpt_path=model.ckpt", "--mean")
        assert said == "GatedPixelCNNDecoder has draws from p(x|z) and no mean of it: leave mean out"
        assert not Path("samples.png").exists()
