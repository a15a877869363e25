"""The grids that TensorBoard gets."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from skipvae.callbacks import ImageGrids
from tests.callbacks.tiny import LATENT_DIM, make_loader, make_model, make_trainer, read_events

FACTOR, LINE = 16, 2  # an image of 4 pixels becomes one of 64
CELL = 4 * FACTOR + LINE


def train(folder: Path, model: Any, epochs: int = 2) -> None:
    callback = ImageGrids(every_n_epochs=1, num_images=5, time_share=1e9)
    make_trainer(folder, callback, max_epochs=epochs).fit(model, make_loader(), make_loader(8))


def pictures(events: EventAccumulator, tag: str) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(Image.open(io.BytesIO(event.encoded_image_string))) for event in events.Images(tag)]


def test_grids_have_their_rows_and_columns(tmp_path: Path) -> None:
    model = make_model()
    train(tmp_path, model)
    found = read_events(tmp_path / "run/version_0")
    rows = {"reconstructions": 2, "samples": 2}
    assert sorted(found.Tags()["images"]) == sorted(f"images/{name}" for name in (*rows, "traversals"))
    for name, count in rows.items():
        drawn = pictures(found, f"images/{name}")
        assert [picture.shape for picture in drawn] == [(count * CELL + LINE, 5 * CELL + LINE, 3)] * 2
    inputs = pictures(found, "images/reconstructions")[0][LINE:CELL:FACTOR, LINE:CELL:FACTOR, 0]
    x = make_loader(8).dataset[0][0][0]
    assert np.array_equal(inputs, 255 * x.numpy().astype(np.uint8))


def test_prior_samples_show_the_same_z_each_time(tmp_path: Path) -> None:
    model = make_model(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    train(tmp_path, model)
    first, second = pictures(read_events(tmp_path / "run/version_0"), "images/samples")
    assert np.array_equal(first, second)


def test_traversals_show_the_dimension_with_the_largest_kl_first_and_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model().eval()
    model.results = {"kl_per_dim": [0.0, 2.0, 1.0]}
    x = make_loader().dataset[:1][0]
    drawn: dict[str, Any] = {}
    monkeypatch.setattr("skipvae.callbacks.image_grids.labelled_grid", lambda grid, **labels: drawn.update(labels))
    monkeypatch.setattr("skipvae.callbacks.image_grids.write_picture", lambda *_: None)
    monkeypatch.setattr(
        "skipvae.callbacks.image_grids.tiles",
        lambda images, columns: drawn.update(images=images, columns=columns),
    )
    with torch.no_grad():
        ImageGrids(num_images=5)._draw_traversals(SimpleNamespace(global_step=7), model, x)
        z = model.infer(x).mean.repeat(5, 1)
        for row, dimension in enumerate([1, 2, 0]):
            moved = z.clone()
            moved[:, dimension] = torch.linspace(-3, 3, 5)
            shown = drawn["images"].view(LATENT_DIM, 5, -1)[row]
            torch.testing.assert_close(shown, model.decoder.preview(moved).flatten(1))
    assert drawn["row_labels"] == ["z1  2.00", "z2  1.00", "z0  0.00"]
    assert drawn["column_labels"] == ["-3.0", "-1.5", "0.0", "1.5", "3.0"]


def test_models_of_other_data_draw_nothing(tmp_path: Path) -> None:
    model = make_model()
    model.decoder.modality = "other"
    model.decoder.log_prob = lambda x, z: -(z.sum(1) ** 2)  # no likelihood of images either
    train(tmp_path, model)
    assert read_events(tmp_path / "run/version_0").Tags()["images"] == []


def test_models_without_z_draw_samples_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    model.decoder.latent_dim = 0
    model.sample = lambda n: torch.full((n, 1, 4, 4), 0.5)
    written: list[str] = []
    monkeypatch.setattr("skipvae.callbacks.image_grids.write_picture", lambda _, name, *__: written.append(name))
    ImageGrids(num_images=5).draw(make_trainer(tmp_path), model)
    assert written == ["images/samples"]
