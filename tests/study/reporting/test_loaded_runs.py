"""A report of trained models whose data are no longer there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from skipvae.cli import parse
from skipvae.cli import run as launch
from skipvae.study import main

REPORT = Path("lightning_logs/small/report")


def test_a_report_needs_no_data(write_study: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    Path("pictures").mkdir()
    for level in range(30):
        Image.new("L", (8, 8), 8 * level).save(f"pictures/{level}.png")
    data = {"": "datamodules.ImageFolderDataModule", ".root": "pictures", ".image_size": 8, ".batch_size": 10}
    file = write_study(overrides={f"data{key}": value for key, value in data.items()})
    main(["run", str(file)], launch, parse)
    first = (REPORT / "table.csv").read_text()
    figures = {path.name for path in REPORT.iterdir()}
    assert {"images.png", "latent_space.png", "training.png"} <= figures
    Path("pictures").rename("elsewhere")
    capfd.readouterr()
    main(["report", str(file), "--output", "again"], launch, parse)
    shown = capfd.readouterr().out
    assert shown.count("no pictures or texts of test examples of VAE-seed1: there is no folder pictures") == 1
    assert shown.count("there is no folder") == 1, "both runs have the same data"
    assert Path("again/table.csv").read_text() == first
    left_out = {f"{name}.{kind}" for name in ("images", "latent_space") for kind in ("png", "svg")}
    assert {path.name for path in Path("again").iterdir()} == figures - left_out
