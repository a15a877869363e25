"""The page of a test in TensorBoard."""

import io
from pathlib import Path

import pytorch_lightning as pl
from PIL import Image

from skipvae.callbacks import Report
from skipvae.callbacks.results_page import write_results
from tests.callbacks.tiny import make_loader, make_model, make_trainer, read_events


def test_a_test_is_shown_as_a_table_a_plot_and_lines(tmp_path: Path) -> None:
    pl.seed_everything(5)
    model, trainer = make_model(), make_trainer(tmp_path, Report())
    trainer.fit(model, make_loader())
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    trainer.test(model, make_loader(), ckpt_path=tmp_path / "model.ckpt", verbose=False)
    found = read_events(tmp_path / "run/version_0")
    (event,) = found.Tensors("test/results/text_summary")
    assert event.step == 4
    unit, measure, table = event.tensor_proto.string_val[0].decode().split("\n\n")
    assert unit.startswith("16 examples")
    assert measure == f"log p(x) is {model.results['measure']}"
    header, _, *rows = table.splitlines()
    assert header == "| metric | value | meaning |"
    cells = {row.split(" | ")[0].strip("| "): row.split(" | ")[1:] for row in rows}
    assert cells["elbo"][0] == f"{model.results['elbo']:.3f} ± {model.results['elbo_stderr']:.3f}"
    assert all(row.count("|") == 4 for row in rows)  # nothing in a cell ends it
    (picture,) = found.Images("test/dimensions")
    assert picture.step == 4
    assert Image.open(io.BytesIO(picture.encoded_image_string)).size == (600, 450)
    assert [event.step for event in found.Scalars("test/nll")] == [0, 4]


def test_a_result_that_is_no_number_is_not_drawn(tmp_path: Path) -> None:
    model, trainer = make_model(), make_trainer(tmp_path)
    model.results = {"kl_per_dim": [float("nan")] * 3, "variance_per_dim": [0.0] * 3, "au_threshold": 0.01}
    write_results(trainer, model, [("kl", "nan", "")])
    trainer.logger.finalize("success")
    found = read_events(tmp_path / "run/version_0")
    assert found.Tags()["images"] == []
    assert found.Tensors("test/results/text_summary")[0].step == 0
