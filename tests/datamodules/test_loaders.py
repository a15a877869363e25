from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from datamodules.index_batches import SequentialBatches, ShuffledBatches
from datamodules.loaders import InMemoryLoader, TrainingLoader


def make_loader(num_examples: int = 23, batch_size: int = 4, seed: int = 0) -> TrainingLoader[torch.Tensor]:
    """5 batches an epoch, each the epoch and then the examples."""
    return TrainingLoader(
        lambda index, epoch: torch.cat([torch.tensor([epoch]), index]), ShuffledBatches(num_examples, batch_size, seed)
    )


def rows(batches: Any) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


def test_evaluation_starts_from_the_first_batch_every_time() -> None:
    loader = InMemoryLoader(lambda index, epoch: index, SequentialBatches(5, 2))
    next(iter(loader))
    assert rows(loader) == rows(loader) == [[0, 1], [2, 3], [4]]
    assert len(loader) == 3


def test_training_goes_through_the_epochs_in_turn() -> None:
    expected = []
    batches = ShuffledBatches(23, 4, 0)
    for epoch in range(3):
        batches.set_epoch(epoch)
        expected += [[epoch, *index.tolist()] for index in batches]
    loader = make_loader()
    assert len(loader) == 5
    assert [row for _ in range(3) for row in rows(loader)] == expected


@settings(deadline=None)
@given(stops=st.lists(st.integers(0, 5), max_size=5), resume=st.booleans())
def test_training_goes_on_wherever_it_stopped(stops: Any, resume: bool) -> None:
    whole = make_loader()
    expected = [row for _ in range(6) for row in rows(whole)]
    loader, seen = make_loader(), []
    for stop in stops:
        iter(loader)  # an iterator that nobody uses changes nothing
        seen += rows(islice(loader, stop))
        if resume:
            state, loader = loader.state_dict(), make_loader()
            loader.load_state_dict(state)
            assert loader.state_dict() == state
        if seen:
            loader.sampler.set_epoch(99)  # as Lightning may, where it took a stop for the end of an epoch
    assert seen + rows(loader) == expected[: len(seen) + 5]


def test_a_new_loader_begins_with_the_epoch_it_is_told() -> None:
    first, second = make_loader(), make_loader()
    first_epoch = rows(first)
    second.sampler.set_epoch(1)
    assert rows(second) == rows(first) != first_epoch


def test_a_state_of_other_batches_is_refused_within_an_epoch_only() -> None:
    original, other = make_loader(), make_loader(batch_size=8)
    list(islice(original, 1))
    with pytest.raises(ValueError, match="after 1 of 5 batches of an epoch, and an epoch of this run has 2"):
        other.load_state_dict(original.state_dict())
    list(islice(original, 4))
    other.load_state_dict(original.state_dict())
    assert {epoch for epoch, *_ in rows(other)} == {1}


class Recorder(LightningModule):
    """Keeps the batches that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen.append(batch.tolist())
        return self.weight * batch.sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", self.weight)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, ckpt_path: Any = None, callbacks: Any = (), **options: Any) -> Recorder:
    model = Recorder()
    validation = InMemoryLoader(lambda index, epoch: index, SequentialBatches(4, 2))
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        callbacks=list(callbacks),
        **{"max_epochs": 3, **options},
    )
    trainer.fit(model, make_loader(), validation, ckpt_path=ckpt_path)
    return model


def check_every_checkpoint_resumes(folder: Path, checkpoint: ModelCheckpoint, expected: int, **options: Any) -> None:
    straight = fit(folder, callbacks=[checkpoint], **options).seen
    checkpoints = sorted(folder.glob("*.ckpt"))
    assert len(checkpoints) == expected
    for path in checkpoints:
        step = torch.load(path, weights_only=True)["global_step"]
        assert fit(folder, ckpt_path=path, **options).seen == straight[step:], f"{path.name} of {options}"


@pytest.mark.parametrize("options", [{}, {"limit_train_batches": 3}], ids=["whole epochs", "short epochs"])
def test_lightning_resumes_after_any_step(tmp_path: Path, options: dict[str, Any]) -> None:
    checkpoint = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    check_every_checkpoint_resumes(tmp_path, checkpoint, expected=9 if options else 15, **options)


@pytest.mark.parametrize(
    "options", [{"val_check_interval": 2}, {"val_check_interval": 1.0}], ids=["inside", "at the end"]
)
def test_lightning_resumes_after_validation(tmp_path: Path, options: dict[str, Any]) -> None:
    checkpoint = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, save_on_train_epoch_end=False)
    check_every_checkpoint_resumes(
        tmp_path, checkpoint, expected=6 if options["val_check_interval"] == 2 else 3, **options
    )


def test_lightning_resumes_after_an_epoch(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, save_on_train_epoch_end=True)
    check_every_checkpoint_resumes(tmp_path, checkpoint, expected=3)


@pytest.mark.parametrize("steps", [1, 4, 5, 6, 10, 12])
def test_lightning_goes_on_from_where_max_steps_stopped_it(tmp_path: Path, steps: int) -> None:
    straight = fit(tmp_path, max_steps=15, max_epochs=-1).seen
    stopped = fit(tmp_path, max_steps=steps, max_epochs=-1)
    stopped.trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    resumed = fit(tmp_path, ckpt_path=tmp_path / "stopped.ckpt", max_steps=15, max_epochs=-1)
    assert stopped.seen + resumed.seen == straight


def test_lightning_reloads_the_loader_every_epoch(tmp_path: Path) -> None:
    class Reloading(Recorder):
        def train_dataloader(self) -> Any:
            return make_loader()

    model = Reloading()
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    Trainer(max_epochs=3, reload_dataloaders_every_n_epochs=1, limit_val_batches=0, **options).fit(model)
    assert model.seen == fit(tmp_path).seen
