"""The callback that saves the config of a run."""

from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning import Callback, LightningModule, Trainer

from skipvae.callbacks.loggers import write_settings
from skipvae.callbacks.run_logger import RunLogger
from skipvae.models import GenerativeModel
from skipvae.persistence.atomic import atomic_write
from skipvae.persistence.run_folder import run_folder

CONFIG = "config.yaml"


class SaveConfig(Callback):
    """Writes the full config into the run folder when training starts, without the options of a single call.

    Args:
        parser: the parser of the config.
        config: as given by the user, before the run folder was filled in.
        command: the command line, without the name of the program; for TensorBoard, beside the config.
    """

    ONCE = ("ckpt_path", "weights_only", "version")

    def __init__(self, parser: ArgumentParser, config: Namespace, command: Sequence[str] = ()) -> None:
        self._parser, self._config, self._command = parser, config.clone(), command
        for once in self.ONCE:
            self._config.pop(once, None)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the config; by now a resumed run has restored its checkpoint."""
        folder = run_folder(trainer)  # a collective call, so it comes before the branch of the first process
        if trainer.is_global_zero and folder is not None:
            with atomic_write(folder / CONFIG) as file:  # a run without a whole one cannot be resumed
                file.write(self._parser.dump(self._config, skip_none=False))
            for logger in trainer.loggers:
                if isinstance(logger, RunLogger):
                    logger.log_command(["skipvae", *self._command], trainer.global_step)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hands the config to the loggers, and keeps vocabulary or columns beside it."""
        folder = run_folder(trainer)  # a collective call, so it comes before the branch of the first process
        if not trainer.is_global_zero:
            return
        if isinstance(pl_module, GenerativeModel) and folder is not None:
            for name in pl_module.codecs.keys() & {"vocabulary", "columns"}:  # those that another run can be given
                with atomic_write(folder / f"{name}.json") as file:
                    file.write(pl_module.codecs[name])
        config: dict[str, Any] = self._config.as_dict()
        write_settings(trainer, {key: config[key] for key in ("seed_everything", "model", "data", "trainer")})
