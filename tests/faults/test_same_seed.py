"""The same seed is the same run, bit by bit, whoever watches it; another seed is another run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.callbacks.tiny import make_model, make_trainer
from tests.command_line import plain
from tests.faults.conftest import Inject
from tests.faults.work import MODELS, write_corpus
from tests.same_run import assert_same

WATCHERS = {
    "no logger": ["--trainer.logger=false"],
    "CSVLogger": ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=csv"],
    "progress bar": ["--trainer.enable_progress_bar=true"],
    "rich progress bar": ["--trainer.enable_progress_bar=true", "--trainer.callbacks+=RichProgressBar"],
    "model summary": ["--trainer.enable_model_summary=true"],
    "logs at every step": ["--trainer.log_every_n_steps=1"],
    "sanity check": ["--trainer.num_sanity_val_steps=0"],
    "checkpoints at every step": ["--checkpoints.every_n_train_steps=1"],
    "profiler": ["--trainer.profiler=simple"],
    "device statistics": ["--trainer.callbacks+=LearningRateMonitor"],
}


def outcome(cli: Any) -> dict[str, Any]:
    """Weights, the state of the optimiser, and what the last validation measured in full precision."""
    return {
        "weights": dict(cli.model.state_dict()),
        "optimiser": cli.trainer.optimizers[0].state_dict(),
        "results": cli.model.results,
    }


FIRST: dict[str, dict[str, Any]] = {}


@pytest.mark.parametrize(
    ("model", "watcher"),
    [
        pytest.param(
            model,
            watcher,
            marks=() if model == "images" and watcher == "sanity check" else pytest.mark.faults,
        )
        for model in MODELS
        for watcher in (WATCHERS if model == "images" else list(WATCHERS)[:3])
    ],
)
def test_whoever_watches(workspace: Path, inject: Inject, model: Any, watcher: Any) -> None:
    write_corpus()
    options = ["fit", *MODELS[model], "--trainer.max_epochs=2"]
    if model not in FIRST:
        FIRST[model] = outcome(plain(options))
    with inject("same seed, another logger, bar or interval"):
        assert_same(outcome(plain([*options, *WATCHERS[watcher]])), FIRST[model])


@pytest.mark.parametrize("model", ["images", "text"])
def test_another_seed_changes_the_start_and_the_order(workspace: Path, inject: Inject, model: str) -> None:
    write_corpus()
    with inject("another seed"):
        starts, orders = [], []
        for seed in (1, 2, 1):
            options = ["fit", *MODELS[model], f"--seed_everything={seed}", "--trainer.logger=false"]
            cli = plain([*options, "--trainer.max_steps=0", "--trainer.limit_val_batches=0"])
            starts.append([weight.clone() for weight in cli.model.parameters()])
            orders.append([batch[-1] for batch in cli.datamodule.train_dataloader()])
            if model == "text":
                orders[-1] = [batch[0] for batch in cli.datamodule.train_dataloader()]
        for first, second, again in (starts, orders):
            assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
            assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.faults), 2])
def test_the_number_of_data_workers(
    tmp_path: Path, inject: Inject, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Our own data needs none; whoever brings a DataLoader may use as many as he likes."""
    import pytorch_lightning as pl

    x = torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(0)).round()

    def trained(number: int) -> dict[str, Any]:
        pl.seed_everything(1, workers=True)
        loader = DataLoader(TensorDataset(x, torch.arange(32)), batch_size=8, shuffle=True, num_workers=number)
        model, trainer = make_model(), make_trainer(tmp_path / str(number), max_epochs=2, logger=False)
        trainer.fit(model, loader, loader)
        return {"weights": dict(model.state_dict()), "optimiser": trainer.optimizers[0].state_dict()}

    with inject("same seed, other data workers"):
        assert_same(trained(workers), trained(0))
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
