"""`skipvae test`, `validate` and `predict`: what they print and what they write."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.callbacks.tiny import read_events
from tests.command_line import CONFIG, QUIET, TINY, TINY_DATA, contents, error_of, plain


def test_test_prints_one_table_and_writes_its_numbers(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = (tiny_run / "config.yaml").read_bytes()
    cli = plain(["test", "--ckpt_path=best", *QUIET])
    said = capsys.readouterr().out
    written = json.loads((tiny_run / "metrics.json").read_text())
    assert "test: 500 examples, nats per example" in said
    assert "test/elbo" not in said  # Lightning's own table would say it all again
    assert "of 3 units active" in said
    for name in ("elbo", "kl", "mi", "nll"):
        assert written[name] == cli.model.results[name]
    assert written["num_examples"] == 500
    assert (tiny_run / "config.yaml").read_bytes() == config
    assert os.listdir(tiny_run.parent) == ["version_0"]


def test_validate_measures_what_training_measured(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli = plain(["validate", "--ckpt_path=last", *QUIET])
    logged = [event.value for event in read_events(tiny_run).Scalars("val/elbo")]
    assert np.float32(cli.model.results["elbo"]) in np.float32(logged)
    assert "validation: 500 examples" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["validate", "test"])
def test_what_is_measured_of_a_checkpoint_stands_at_its_step(tiny_run: Path, command: str) -> None:
    plain([command, "--ckpt_path=best", *QUIET])
    name = {"validate": "val/elbo", "test": "test/elbo"}[command]
    steps = [event.step for event in read_events(tiny_run).Scalars(name)]
    assert steps[-1] == torch.load(tiny_run / "checkpoints/best.ckpt", weights_only=True)["global_step"]


def test_the_table_begins_where_the_progress_bar_has_ended(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain(["validate", "--ckpt_path=last", "--trainer.enable_progress_bar=true", "--trainer.limit_val_batches=1"])
    assert re.search(r"100%.*\n+validation: 250 examples", capsys.readouterr().out)


def test_predict_writes_the_posterior_of_every_test_example(tiny_run: Path) -> None:
    cli = plain(["predict", "--ckpt_path=best", *QUIET])
    table = np.genfromtxt(tiny_run / "predictions.csv", delimiter=",", names=True)
    assert table["id"].tolist() == list(range(500))
    images, labels = cli.datamodule.splits.test
    assert table["label"].tolist() == labels.tolist()
    posterior = cli.model.infer(images / 255)
    mean = np.stack([table[f"mean_{k}"] for k in range(3)], 1)
    logvar = np.stack([table[f"logvar_{k}"] for k in range(3)], 1)
    np.testing.assert_allclose(mean, posterior.mean.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logvar, posterior.logvar.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("command", "options", "folder"),
    [
        ("test", ["--ckpt_path=best", "--trainer.limit_test_batches=1"], "with-limit_test_batches=1"),
        (
            "test",
            ["--ckpt_path=last", "--model.num_importance_samples=3"],
            "with-num_importance_samples=3-checkpoint=last",
        ),
        ("predict", ["--ckpt_path=best", "--data.binarize=none"], "with-binarize=none"),
    ],
)
def test_what_is_measured_with_other_settings_leaves_the_runs_own_results_alone(
    tiny_run: Path, command: str, options: list[str], folder: str
) -> None:
    for own in (["test"], ["predict"]):
        plain([*own, "--ckpt_path=best", *QUIET, "--data.eval_batch_size=500"])  # of any size of batches
    before = contents(tiny_run)
    assert {"metrics.json", "predictions.csv"} <= before.keys()
    plain([command, *options, *QUIET])
    after = contents(tiny_run)
    assert before.items() <= after.items()
    assert {"test": "metrics.json", "predict": "predictions.csv"}[command] in os.listdir(tiny_run / folder)
    assert all(name.startswith(f"{folder}/") for name in after.keys() - before.keys())


def test_predict_writes_where_it_is_told_to(tiny_run: Path, tmp_path: Path) -> None:
    before = contents(tiny_run)
    plain(["predict", "--ckpt_path=best", *QUIET, "--predictions.output=new/posteriors.csv"])
    assert Path("new/posteriors.csv").read_text().startswith("id,label,mean_0,")
    assert before.items() <= contents(tiny_run).items()


def test_predict_needs_a_model_with_z(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--config", str(CONFIG.parents[1] / "mnist/pixelcnn_baseline_small.yaml"), *QUIET, *TINY_DATA]
    options += ["--model.decoder.channels=4", "--model.decoder.num_layers=2", "--trainer.max_steps=1"]
    plain(["fit", *options])
    said = error_of(capsys, "predict", "--ckpt_path=last", *QUIET)
    assert "predicts no posterior to write: take a model with latent variables" in said
    for command in ("reconstruct", "interpolate"):
        said = error_of(capsys, command, "--ckpt_path=last")
        assert said.endswith("holds a model without latent variables (Autoregressive): it can only be sampled from")


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_measuring_needs_a_trained_model(workspace: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    said = error_of(capsys, command, *TINY)
    assert said.startswith(f"skipvae {command} needs a trained model: give --ckpt_path")
