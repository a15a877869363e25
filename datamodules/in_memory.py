"""The base of all data modules: their loaders, and the position of the training data in checkpoints."""

from typing import Any, TypeVar

from pytorch_lightning import LightningDataModule
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from datamodules.loaders import InMemoryLoader, TrainingLoader

BatchT = TypeVar("BatchT")


class InMemoryDataModule(LightningDataModule):
    """A data module whose splits live in memory, and whose resumed runs see the batches that they would have seen.

    Lightning restores the state of a data module before anything asks for batches; that of a loader only if the
    checkpoint was written within an epoch, and not if the optimizer has asked for the number of steps by then.

    A subclass writes `_loader`.

    Attributes:
        split_facts: What is known of each split, by its name; complete after `setup`.
        training_digest: A digest of which examples are trained on, after `setup`; constant where not compared.
        sources: The file or folder that each split is read from, by its name, for messages; as far as there is one.
    """

    training_digest: str = ""

    _position: dict[str, int] | None = None
    _training: TrainingLoader[Any] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.split_facts: dict[str, dict[str, float]] = {}
        self.sources: dict[str, Any] = {}

    def _loader(self, split: str, shuffled: bool = False, with_ids: bool = False) -> InMemoryLoader[tuple[Tensor, ...]]:
        """The loader of a split: a `TrainingLoader` if shuffled; batches that end with the ids of the examples, or not.

        The split `train` is served in batches of the training's size also where it is not shuffled.
        """
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Forget the position of an earlier training before another; an evaluation leaves it as it is."""
        if stage in ("fit", None):
            self._position = self._training = None

    def train_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        # with overfit_batches, Lightning promises the same batches in each epoch
        loader = self._loader("train", shuffled=not getattr(self.trainer, "overfit_batches", 0))
        return self._at_position(loader) if isinstance(loader, TrainingLoader) else loader

    def val_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        return self._loader("val")

    def test_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        return self._loader("test")

    def predict_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        return self._loader("test", with_ids=True)

    @property
    def _rank_and_world_size(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    # -- resuming ---------------------------------------------------------------------------------------------------

    def _at_position(self, loader: TrainingLoader[BatchT]) -> TrainingLoader[BatchT]:
        """The loader, at the position of the checkpoint, or of the loader that Lightning replaces by it."""
        reloads = getattr(self.trainer, "reload_dataloaders_every_n_epochs", 0)
        if reloads and self._training is not None:
            self._position = self._training.state_dict()
        if self._position is not None:
            loader.load_state_dict(self._position)
            self._position = None
        self._training = loader
        return loader

    def state_dict(self) -> dict[str, Any]:
        """The state of the training loader, and which examples it serves."""
        return {} if self._training is None else {**self._training.state_dict(), "examples": self.training_digest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the position for the training loader, which does not exist yet; warn if the examples are others."""
        if state_dict.get("examples", self.training_digest) != self.training_digest:
            rank_zero_warn(
                "the training examples are not those of the checkpoint: if the data has changed since, its splits are "
                "drawn anew, and validation and test may hold examples that were trained on; files of their own for "
                "validation and test keep them apart"
            )
        self._position = state_dict


def check_sizes(**sizes: int | None) -> None:
    """Raise a ValueError if a size that was given is below 1."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name}={size} must be at least 1")


def check_train_size(train_size: int, num_examples: int) -> None:
    """Raise a ValueError if there are fewer training examples than asked for."""
    if train_size > num_examples:
        raise ValueError(
            f"train_size={train_size} is more than the {num_examples} training examples: take fewer, or null for all"
        )
