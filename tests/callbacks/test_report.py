"""What a test prints and writes."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from skipvae.callbacks import LinearKLAnnealing, Report
from skipvae.callbacks.report import table
from tests.callbacks.tiny import LATENT_DIM, make_loader, make_model, make_trainer


def test_writes_what_was_measured_in_full_precision(tmp_path: Path, capsys: Any) -> None:
    pl.seed_everything(5)
    model = make_model(skip=True)
    trainer = make_trainer(tmp_path, Report())
    trainer.fit(model, make_loader())
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    trainer.test(model, make_loader(), ckpt_path=tmp_path / "model.ckpt", verbose=False)

    path = tmp_path / "run/version_0/metrics.json"
    record = json.loads(path.read_text())
    assert {name: record[name] for name in model.results} == model.results
    assert {"elbo", "elbo_stderr", "mi_ceiling", "nll", "nll_stderr", "kl_per_dim"} <= record.keys()
    assert record["num_examples"] == 16
    assert record["seed"] == 5
    assert record["checkpoint"] == str(tmp_path / "model.ckpt")
    assert record["seconds"] > 0
    assert record["fit_seconds"] > 0
    assert record["model"]["skip"] is True
    assert record["model"]["latent_dim"] == LATENT_DIM
    assert record["model"]["class"] == "skipvae.VAE"
    assert [file.name for file in path.parent.iterdir() if "partial" in file.name] == []

    printed = capsys.readouterr().out
    assert f"{model.results['elbo']:.3f} ± {model.results['elbo_stderr']:.3f}" in printed
    assert f"of {LATENT_DIM} units active" in printed
    assert str(path) in printed.splitlines()[-1]


def test_validate_prints_and_writes_nothing(tmp_path: Path, capsys: Any) -> None:
    make_trainer(tmp_path, Report()).validate(make_model(), make_loader(), verbose=False)
    printed = capsys.readouterr().out
    assert "validation: 16 examples" in printed
    assert "units active" in printed
    assert list(tmp_path.rglob("metrics.json")) == []


def test_validation_within_training_is_silent(tmp_path: Path, capsys: Any) -> None:
    make_trainer(tmp_path, Report()).fit(make_model(), make_loader(), make_loader())
    assert "units active" not in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"logger": False}, {"fast_dev_run": True}])
def test_no_run_folder_no_file(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    make_trainer(tmp_path, Report(), **options).test(make_model(), make_loader(), verbose=False)
    assert "units active" in capsys.readouterr().out
    assert list(tmp_path.rglob("metrics.json")) == []


def test_annealing_is_not_advised_to_those_who_anneal(tmp_path: Path, capsys: Any) -> None:
    for callbacks in ([], [LinearKLAnnealing(warmup_steps=1)]):
        make_trainer(tmp_path, Report(), *callbacks).test(
            make_model(active_threshold=1e9), make_loader(), verbose=False
        )
    first, second = (line for line in capsys.readouterr().out.splitlines() if "units active" in line)
    assert first.endswith("try skip or KL annealing")
    assert second.endswith("try skip or free bits")


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    class Broken(pl.Callback):
        def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            numbers = {"elbo": float("-inf"), "mi": float("nan"), "kl": 1.0, "au": 0, "all": [1.0, float("nan")]}
            pl_module.evaluation.compute = lambda: numbers

    trainer = make_trainer(tmp_path, Report(), Broken())
    trainer.test(make_model(), make_loader(), verbose=False)
    record = json.loads((tmp_path / "run/version_0/metrics.json").read_text(), parse_constant=pytest.fail)
    assert record["elbo"] is None
    assert record["mi"] is None
    assert record["kl"] == 1.0
    assert record["all"] == [1.0, None]


def test_table_shows_what_there_is() -> None:
    assert table({"nll": 90.0, "num_examples": 3}, "test", 10).row_count == 1
    assert table({"nll": 90.0, "duplicate_fraction": 0.5, "num_examples": 3}, "test", 10).row_count == 2
    assert table({"elbo": -90.0, "ppl": 12.0, "num_examples": 3}, "test").row_count == 2


def test_a_bernoulli_likelihood_of_grey_values_is_said_to_be_no_density(tmp_path: Path, capsys: Any) -> None:
    model, grey = make_model(), DataLoader(TensorDataset(torch.rand(4, 1, 4, 4)), batch_size=4)
    for loader, said in ((grey, 1), (make_loader(), 0)):
        make_trainer(tmp_path, Report()).test(model, loader, verbose=False)
        printed = " ".join(capsys.readouterr().out.split())
        assert printed.count("no log-density") == said, "below the table"


def test_what_is_known_of_the_data_stands_beside_what_was_measured(tmp_path: Path, capsys: Any) -> None:
    class Known(pl.LightningDataModule):
        truth: ClassVar[dict[str, float]] = {"mi": 1.25, "mi_stderr": 0.5}

        def test_dataloader(self) -> Any:
            return make_loader()

    make_trainer(tmp_path, Report()).test(make_model(), Known(), verbose=False)
    record = json.loads((tmp_path / "run/version_0/metrics.json").read_text())
    assert (record["true_mi"], record["true_mi_stderr"]) == (1.25, 0.5)
    assert "1.250 ± 0.500" in capsys.readouterr().out
