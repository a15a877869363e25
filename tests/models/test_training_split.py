"""Classifiers of the labels are fitted on the training split, whatever data module it comes from."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from datamodules import ImageDataModule
from datamodules.images import Examples, Splits
from skipvae import VAE
from skipvae.callbacks import Report
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder
from skipvae.inference import SemiAmortized


def bright_or_dark(n: int, seed: int) -> TensorDataset:
    """Images of few or many white pixels, and which."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 2
    x = torch.rand(n, 1, 4, 4, generator=generator) < 0.1 + 0.8 * label.view(-1, 1, 1, 1)
    return TensorDataset(x.float(), label)


class Own(pl.LightningDataModule):
    """As a user would write it: setup by stage, and a loader that shuffles by torch's own generator."""

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.train = bright_or_dark(90, seed=1)
        if stage == "test":
            self.test = bright_or_dark(40, seed=2)

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, batch_size=20, shuffle=True)

    def test_dataloader(self) -> Any:
        return DataLoader(self.test, batch_size=20)


class WithoutTraining(Own):
    def train_dataloader(self) -> Any:
        raise ValueError("no training data here")


class WithoutTrainingLabels(Own):
    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(self.train.tensors[0]), batch_size=20)


class WithoutLabels(Own):
    def test_dataloader(self) -> Any:
        return DataLoader(TensorDataset(self.test.tensors[0], torch.full((40,), -1)), batch_size=20)


def measure(folder: Path, data: Any, inference: Any = None, limit: Any = 1.0, **options: Any) -> dict[str, Any]:
    pl.seed_everything(1)
    encoder, decoder = MLPEncoder(2, (1, 4, 4), hidden_dim=16, num_layers=1), MLPDecoder(2, (1, 4, 4), hidden_dim=16)
    model = VAE(encoder, decoder, inference, num_importance_samples=0, **options)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        callbacks=[Report()],
        default_root_dir=folder,
        limit_train_batches=limit,
    )
    trainer.test(model, data, verbose=False)
    return model.results


@pytest.mark.parametrize("inference", [None, SemiAmortized(num_steps=2)])
def test_any_data_module_serves(tmp_path: Path, inference: Any) -> None:
    before = torch.get_rng_state()
    found, again = (measure(tmp_path, Own(), inference) for _ in range(2))
    assert found == again
    assert (found["num_probe_examples"], found["num_labelled"]) == (90, 40)
    assert found["probe_accuracy"] > 0.7  # even an untrained encoder tells bright from dark
    assert found["majority_accuracy"] == 0.5
    assert "probe_skipped" not in found
    torch.set_rng_state(before)


@pytest.mark.parametrize(
    ("options", "count"), [({"limit": 0.5}, 40), ({"limit": 3}, 60), ({"max_probe_examples": 33}, 33)]
)
def test_the_pass_is_bounded(tmp_path: Path, options: dict[str, Any], count: int) -> None:
    assert measure(tmp_path, Own(), **options)["num_probe_examples"] == count


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (WithoutTraining(), {}, "the training split cannot be read (no training data here)"),
        (WithoutTrainingLabels(), {}, "the training batches have no labels as their second entry"),
        (WithoutLabels(), {}, "there are no labels"),
        (DataLoader(bright_or_dark(40, seed=2), batch_size=20), {}, "there is no data module"),
        (Own(), {"limit": 0}, "limit_train_batches is 0"),
        (Own(), {"max_probe_examples": 0}, "max_probe_examples is 0"),
    ],
)
def test_a_reason_is_given_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: Any, options: dict[str, Any], reason: str
) -> None:
    found = measure(tmp_path, data, **options)
    assert "probe_accuracy" not in found
    assert reason in found["probe_skipped"]
    assert f"labels are not predicted: {found['probe_skipped']}" in capsys.readouterr().out
    assert ("nmi" in found) == (not isinstance(data, WithoutLabels))


class Grey(ImageDataModule):
    image_shape = (1, 4, 4)

    def load(self) -> Splits:
        splits = (bright_or_dark(n, seed).tensors for n, seed in ((80, 1), (20, 2), (40, 3)))
        return Splits(*(Examples(*tensors) for tensors in splits))


def test_training_continues_where_it_was_also_from_a_checkpoint_that_was_saved_after_a_test(tmp_path: Path) -> None:
    def train(epochs: int, checkpoint: str | None = None) -> Any:
        pl.seed_everything(1)
        decoder = MLPDecoder(2, (1, 4, 4), hidden_dim=8)
        model = VAE(MLPEncoder(2, (1, 4, 4), hidden_dim=8), decoder, num_importance_samples=0)
        trainer = pl.Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            limit_train_batches=2,  # of four: the second epoch begins in the middle of the data
            max_epochs=epochs,
        )
        trainer.fit(model, Grey(batch_size=20), ckpt_path=checkpoint)
        return trainer

    first, path = train(1), str(tmp_path / "tested.ckpt")
    first.test(first.model, first.datamodule, verbose=False)
    assert first.datamodule.state_dict()["served"] == 2
    first.save_checkpoint(path)
    weights = [train(2, checkpoint).model.state_dict() for checkpoint in (None, path)]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
