"""The plots of tables that TensorBoard gets."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from skipvae.callbacks import TablePlots
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder
from skipvae.models import VAE
from tests.callbacks.tiny import make_loader, make_model, make_trainer, read_events

NAMES, MEAN, SCALE = ["height", "weight", "a name too long for a title"], [170.0, 70.0, 0.0], [10.0, 5.0, 1.0]
ROWS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    shape = {"image_shape": (3,), "hidden_dim": 8}
    model = VAE(MLPEncoder(2, **shape), MLPDecoder(2, num_layers=1, **shape))
    model.codecs = {"columns": json.dumps({"names": NAMES, "mean": MEAN, "scale": SCALE})}
    return model


def in_units(x: torch.Tensor) -> np.ndarray[Any, Any]:
    return (x.double() * torch.tensor(SCALE).double() + torch.tensor(MEAN).double()).numpy()


def test_each_card_shows_something(tmp_path: Path, model: Any) -> None:
    rows = DataLoader(TensorDataset(ROWS), batch_size=8)
    make_trainer(tmp_path, TablePlots(1, time_share=1e9), max_epochs=2).fit(model, rows, rows)
    found = read_events(tmp_path / "run/version_0")
    cards = [f"table/{name}" for name in ("reconstructions", "samples", "traversals")]
    assert sorted(found.Tags()["images"]) == cards
    for card in cards:
        first, last = (np.asarray(Image.open(io.BytesIO(event.encoded_image_string))) for event in found.Images(card))
        for panel in np.array_split(last[40:-60], 3, axis=1):
            coloured = panel.max(-1).astype(int) - panel.min(-1) > 60  # neither frames nor text
            assert coloured.sum() > 50, card
        assert not np.array_equal(first, last), "the model was trained in between"


def test_plots_are_in_the_units_of_the_table(model: Any) -> None:
    model.eval().results = {"kl_per_dim": [0.5, 1.5]}
    plots = TablePlots(num_columns=2)
    with torch.no_grad():
        reconstructions, moved = plots._reconstructions(model, ROWS), plots._traversals(model, ROWS)
        samples = plots._samples(model, ROWS)
        z = model.infer(ROWS[:1]).mean.repeat(2, 25, 1)
        z[0, :, 1] = z[1, :, 0] = torch.linspace(-3, 3, 25)  # the dimension with the larger KL first
        along = in_units(model.decoder.mean(z.flatten(0, 1))).reshape(2, 25, 3)
        shown = np.stack([in_units(ROWS), in_units(model.reconstruct(ROWS))], 1)  # (N, 2, D)
    assert reconstructions.get_suptitle().endswith("the first 2 of 3 columns")
    for column in range(2):
        assert reconstructions.axes[column].get_title() == NAMES[column]
        points = reconstructions.axes[column].collections[0].get_offsets()
        np.testing.assert_allclose(points, shown[:, :, column])
        lines = moved.axes[column].lines
        assert [line.get_label() for line in lines] == ["z1  1.50", "z0  0.50"]
        for line, values in zip(lines, along[:, :, column], strict=True):
            np.testing.assert_allclose(line.get_ydata(), values, rtol=1e-6)
        low, high = samples.axes[column].get_xlim()
        assert low < MEAN[column] < high < MEAN[column] + 5 * SCALE[column]


def test_long_names_are_cut_and_values_that_are_no_numbers_are_left_out(model: Any) -> None:
    model.sample = lambda n: torch.full((n, 3), float("nan"))
    with torch.no_grad():
        figure = TablePlots()._samples(model.eval(), ROWS)
    assert figure.axes[2].get_title() == "a name too long for a..."
    assert figure.get_suptitle() == "samples"


def test_models_of_images_draw_nothing(tmp_path: Path) -> None:
    make_trainer(tmp_path, TablePlots(1)).fit(make_model(), make_loader(), make_loader(8))
    assert read_events(tmp_path / "run/version_0").Tags()["images"] == []
