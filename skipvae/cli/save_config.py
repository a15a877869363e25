"""The callback that writes down what a run was asked for."""

from typing import Any

from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning import Callback, LightningModule, Trainer

from skipvae.callbacks.run_logger import RunLogger
from skipvae.models import GenerativeModel
from skipvae.persistence.atomic import atomic_write
from skipvae.persistence.run_folder import run_folder

CONFIG = "config.yaml"


class SaveConfig(Callback):
    """Writes the full config into the run folder when training starts, without what belongs to one call only.

    Args:
        parser: what the config was parsed by.
        config: as asked for, before the command line filled in where things lie.
    """

    ONCE = ("ckpt_path", "weights_only", "version")

    def __init__(self, parser: ArgumentParser, config: Namespace) -> None:
        self._parser, self._config = parser, config.clone()
        for once in self.ONCE:
            self._config.pop(once, None)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the config, by now that of a run which does go on from its checkpoint."""
        folder = run_folder(trainer)  # asks all processes, so it stands before what the first one does alone
        if trainer.is_global_zero and folder is not None:
            with atomic_write(folder / CONFIG) as file:  # it takes a whole one to resume
                file.write(self._parser.dump(self._config, skip_none=False))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the config in TensorBoard's hparams tab, and keeps the vocabulary of a text model beside it."""
        folder = run_folder(trainer)  # asks all processes, so it stands before what the first one does alone
        if not trainer.is_global_zero:
            return
        if isinstance(pl_module, GenerativeModel) and pl_module.vocabulary is not None and folder is not None:
            with atomic_write(folder / "vocabulary.json") as file:
                file.write(pl_module.vocabulary)
        config: dict[str, Any] = self._config.as_dict()
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger):
                logger.log_hyperparams({key: config[key] for key in ("seed_everything", "model", "data", "trainer")})
