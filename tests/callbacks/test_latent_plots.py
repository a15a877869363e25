"""Pictures of latent dimensions and the points of the projector."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from skipvae.callbacks import LatentPictures
from skipvae.callbacks.latent_plots import bars
from tests.callbacks.tiny import LATENT_DIM, make_loader, make_model, make_trainer, read_events


def train(folder: Path, model: Any, loader: Any = None, **options: Any) -> Path:
    callback = LatentPictures(every_n_epochs=1, time_share=1e9, **options)
    make_trainer(folder, callback, max_epochs=2).fit(model, make_loader(), loader or make_loader(8))
    return folder / "run/version_0"


def test_dimensions_are_drawn(tmp_path: Path) -> None:
    model = make_model()
    found = read_events(train(tmp_path, model))
    assert found.Tags()["images"] == ["latents/dimensions"]
    assert [event.step for event in found.Images("latents/dimensions")] == [4, 8]
    histogram = found.Histograms("latents/kl_per_dim")[-1].histogram_value
    assert histogram.num == LATENT_DIM
    assert histogram.sum == sum(model.results["kl_per_dim"])


def test_projector_holds_posterior_means_labels_and_thumbnails(tmp_path: Path) -> None:
    model = make_model()
    folder = train(tmp_path, model, num_points=6)
    (points,) = folder.glob("00008/*/tensors.tsv")
    x, label = make_loader(8).dataset[:6]
    np.testing.assert_allclose(np.loadtxt(points), model.infer(x).mean.detach(), rtol=1e-6)
    header, *rows = [line.split("\t") for line in points.with_name("metadata.tsv").read_text().splitlines()]
    assert header == ["label", "KL", "example"]
    assert [int(row[0]) for row in rows] == label.tolist()
    assert points.with_name("sprite.png").is_file()
    assert "posterior_means" in (folder / "projector_config.pbtxt").read_text()


def test_projector_without_labels_and_images(tmp_path: Path) -> None:
    model = make_model()
    model.decoder.modality = "other"
    model.decoder.log_prob = lambda x, z: -(z.sum(1) ** 2)
    loader = DataLoader(TensorDataset(make_loader(8).dataset[:][0]), batch_size=4)
    (points,) = train(tmp_path, model, loader).glob("00008/*/tensors.tsv")
    assert np.loadtxt(points).shape == (8, LATENT_DIM)
    assert sorted(path.name for path in points.parent.iterdir()) == ["metadata.tsv", "tensors.tsv"]
    assert points.with_name("metadata.tsv").read_text().splitlines()[0] == "KL\texample"


def test_results_that_are_no_numbers_draw_nothing() -> None:
    model = make_model()
    model.results = {"kl_per_dim": [float("nan")] * 3, "variance_per_dim": [0.0] * 3, "au_threshold": 0.01}
    LatentPictures().draw(SimpleNamespace(global_step=0), model)  # its loggers would be asked for, which fails


def test_bars_show_active_units_in_their_colour() -> None:
    def area(variance: float, colour: list[int]) -> int:
        picture = bars([0.5] * 4, [variance] * 4)[225:]  # the lower panel
        return int((picture == colour).all(-1).sum())

    active, collapsed = [31, 119, 180], [127, 127, 127]  # C0 and C7
    assert area(1.0, active) > 10_000
    assert area(0.005, active) == 0
    assert area(0.005, collapsed) > 10_000 > area(1.0, collapsed)


def test_variance_of_zero_can_be_drawn() -> None:
    with torch.no_grad():
        assert bars([0.0, 1.0], [0.0, 1.0]).shape == (450, 600, 3)
