"""Checkpoints of a model: its description beside the weights, checks before anything is restored, and loading."""

from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Self

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.trainer.states import TrainerFn

from skipvae.persistence.atomic import atomic_write
from skipvae.persistence.checkpoint import (
    SPEC_KEY,
    check_fits,
    check_like,
    check_optimizer,
    no_larger_than,
    read_checkpoint,
    spec_in,
)
from skipvae.persistence.migration import VERSION, upgrade
from skipvae.persistence.spec import Component, build
from skipvae.training.codecs import check_same_codecs, codecs_in, codecs_of
from skipvae.training.finiteness import check_weights
from skipvae.training.loss_monitor import LossMonitor


class CheckpointHooks(Component, LightningModule):
    """A LightningModule whose checkpoints say how to rebuild it, without code in them.

    When a run is resumed, Lightning calls `setup`, then `on_load_checkpoint`, restores the weights, configures the
    optimizers, calls `on_fit_start`, and only then restores the optimizers.
    """

    loss_monitor: LossMonitor

    def __init__(self) -> None:
        super().__init__()
        self.codecs: dict[str, str] = {}
        """The meanings of x by its data, in JSON, see `skipvae.training.codecs`; in its checkpoints."""
        self.restored_step: int | None = None
        """The step of the checkpoint that an evaluation has loaded: Lightning would log the results at step 0."""
        self.source: Path | None = None
        """The checkpoint that it was loaded from, unless it has been trained since."""
        self._saved_optimizers: Any = None

    def setup(self, stage: str) -> None:
        """Forgets an earlier checkpoint; takes the vocabulary or the columns of the data."""
        super().setup(stage)
        self.restored_step = self._saved_optimizers = None
        self.source = None if stage == "fit" else self.source
        self.codecs = codecs_of(getattr(self.trainer, "datamodule", None)) or self.codecs

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the description of the model; refuses to save one whose loss or weights are not finite."""
        self.loss_monitor.check(self)
        self._describe(checkpoint)

    @property
    def description(self) -> dict[str, Any]:
        """The description that suffices to build the model and to read its x, in plain types: version, spec and codecs.

        Raises:
            FloatingPointError: if weights are not finite, for which nobody needs a description.
        """
        check_weights(self)
        return {"version": VERSION, "model": self.spec} | self.codecs

    def _describe(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[SPEC_KEY] = self.description | {"terms": self.loss_monitor.state_dict()}

    def save_checkpoint(self, path: str | Path) -> None:
        """Saves weights, description and codecs without a Trainer; nothing of a training that could be resumed.

        Args:
            path: file to write; it appears once it is complete.

        Raises:
            FloatingPointError: if weights are not finite.
            ValueError: if the path is a folder.
            OSError: if it cannot be written.
        """
        content: dict[str, Any] = {"state_dict": self.state_dict(), "epoch": 0, "global_step": 0}
        content["pytorch-lightning_version"] = version("pytorch-lightning")
        self._describe(content)
        with atomic_write(path, "wb") as file:
            torch.save(content, file)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks a checkpoint and restores the loss since the last write of the loggers.

        Raises:
            ValueError: if the weights in the checkpoint are not those of this model, its vocabulary or its columns are
                others, or its training state is damaged.
        """
        upgrade(checkpoint.get(SPEC_KEY), checkpoint["state_dict"])
        saved = codecs_in(checkpoint)
        check_same_codecs(saved, self.codecs)
        self.codecs = self.codecs or saved
        if self.strict_loading:
            check_fits(checkpoint, self)
        if self.trainer.state.fn != TrainerFn.FITTING:
            self.restored_step = int(checkpoint.get("global_step", 0))
            return
        loops = {"fit_loop": self.trainer.fit_loop.state_dict() | {"state_dict": {}}}  # the loader may not exist yet
        check_like(checkpoint, {"epoch": 0, "global_step": 0, "loops": loops, "callbacks": {}}, "state")
        self._saved_optimizers = checkpoint.get("optimizer_states", ())
        if "terms" in checkpoint.get(SPEC_KEY, {}):
            self.loss_monitor.load_state_dict(checkpoint[SPEC_KEY]["terms"])

    def on_fit_start(self) -> None:
        """Compares the optimizers of the checkpoint with those at hand.

        Raises:
            ValueError: if they do not fit.
        """
        saved, self._saved_optimizers = self._saved_optimizers, None
        if saved is None or not isinstance(self.trainer.strategy, (SingleDeviceStrategy, DDPStrategy)):
            return  # other strategies save them in their own way
        check_like(saved, [{} for _ in self.trainer.optimizers], "optimizers")
        for state, optimizer in zip(saved, self.trainer.optimizers, strict=True):
            check_optimizer(state, optimizer)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = "cpu",
        strict: bool = True,
        **overrides: Any,
    ) -> Self:
        """The model in a checkpoint, in evaluation mode; the path alone suffices, and no code in the file is run.

        Args:
            checkpoint_path: file written by a run, by the command line or from Python.
            map_location: device to load to.
            strict: whether the weights must match the model exactly.
            **overrides: arguments of the model to replace.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no checkpoint of this project, cut short, unsafe, or of another class of model.
        """
        model = cls.from_content(
            read_checkpoint(checkpoint_path, map_location), checkpoint_path, map_location, strict, **overrides
        )
        model.source = Path(checkpoint_path).resolve() if isinstance(checkpoint_path, (str, Path)) else None
        return model

    @classmethod
    def from_content(
        cls, content: dict[str, Any], name: object, map_location: Any = "cpu", strict: bool = True, **overrides: Any
    ) -> Self:
        """The model in the content of a checkpoint, in evaluation mode.

        Args:
            content: weights, as `state_dict`, and the model's description.
            name: of the content, for messages.
            map_location: device to move to.
            strict: whether the weights must match the model exactly.
            **overrides: arguments of the model to replace.

        Raises:
            ValueError: if there is no description, or it and the weights do not fit each other.
        """
        spec = spec_in(content, name)
        with no_larger_than(content["state_dict"], name):
            model = build(spec, cls, **overrides)
        if strict:
            check_fits(content, model, name)
        model.load_state_dict(content["state_dict"], strict=strict)
        model.codecs = codecs_in(content)
        return model.to(map_location).eval() if isinstance(map_location, (str, torch.device)) else model.eval()
