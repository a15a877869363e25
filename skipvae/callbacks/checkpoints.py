"""Checkpoints: the best and the last, and one more when the user interrupts."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from skipvae.checkpoint import check_like
from skipvae.persistence.atomic import atomic_write


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its name and then moves it there: a kill leaves the old file or the new one, whole.

    Lightning's own writes to the folder for temporary files, and from there to another disk a move is a copy.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a file; what has a scheme, such as s3://, is left to Lightning."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with atomic_write(path, "wb") as file:  # not by way of memory, which takes three times as long
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # about the unfinished archive, whatever kept it from being written
                raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


class BestAndLast(ModelCheckpoint):
    """Keeps `best.ckpt` by validation ELBO and `last.ckpt`; Ctrl-C ends the step at hand and saves `last.ckpt`.

    With several processes that is the next step that is logged.

    `last.ckpt` is written at the end of every epoch, whether the epoch was the best so far or not.

    Args:
        monitor: what decides which checkpoint is best; larger is better.
        every_n_train_steps: also save `last.ckpt` this often within an epoch; 0 for the ends of epochs only.
    """

    CHECKPOINT_EQUALS_CHAR = "-"

    def __init__(self, monitor: str = "val/elbo", every_n_train_steps: int = 0) -> None:
        # Not `save_last`, with which Lightning writes `last.ckpt` only after an epoch that was the best so far.
        super().__init__(filename="best", monitor=monitor, mode="max", save_top_k=1, enable_version_counter=False)
        self._last_every = every_n_train_steps
        self._began = self._interrupted = self._ended = False
        self._previous_handler: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Sees to it that checkpoints are written whole, and clears what a kill left of one."""
        super().setup(trainer, pl_module, stage)
        self._began = False
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        if stage == "fit" and trainer.is_global_zero:
            for leftover in Path(str(self.dirpath)).glob(".*.partial"):
                leftover.unlink()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what is best so far, also where the run folder has moved or now goes by another path.

        Raises:
            ValueError: if the state is not one of ours.
        """

        def here(path: str) -> str:
            return str(Path(str(self.dirpath), Path(path).name)) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        check_like(state_dict, {"best_k_models": {}, **dict.fromkeys(paths, "")}, "best checkpoints")
        scores = [state_dict.get(name) for name in ("best_model_score", "current_score", "kth_value")]
        for score in (*state_dict["best_k_models"].values(), *(score for score in scores if score is not None)):
            check_like(score, torch.zeros(()), "best score")
        moved = {"dirpath": self.dirpath, **{name: here(state_dict[name]) for name in paths}}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes over Ctrl-C for the time of training."""
        super().on_train_start(trainer, pl_module)
        self._began, self._interrupted, self._ended = True, False, False
        try:
            self._previous_handler = signal.signal(signal.SIGINT, self._note_interrupt)
        except ValueError:  # not the main thread: whoever runs us handles signals
            self._previous_handler = None

    def _note_interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self._interrupted:  # the second Ctrl-C means now
            raise KeyboardInterrupt
        self._interrupted = True
        print("\nFinishing the step, then saving (Ctrl-C again to stop at once) ...", flush=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves `last.ckpt` when it is due, and when the user has asked to stop."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.is_last_batch:
            # A checkpoint from here would count the epoch as whole, and its validation would never be made.
            self._ended = False
            return
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # in the midst of a step, whose gradient so far would be lost
        # Several processes have to agree, which means waiting for the device, so they do it now and then.
        alone, every = trainer.world_size == 1, max(1, trainer.log_every_n_steps)  # type: ignore[attr-defined]
        interrupted = (alone or trainer.global_step % every == 0) and self._stops(trainer)
        self._ended = trainer.global_step == trainer.max_steps
        if interrupted or self._ended or (self._last_every and trainer.global_step % self._last_every == 0):
            # Lightning logs the step only after this hook, so that a kill in between would lose it; twice is once.
            trainer._logger_connector.update_train_step_metrics()
            self._save_last(trainer)
        if interrupted:
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves `best.ckpt` if the epoch was the best so far, and `last.ckpt`; then stops if the user has asked to."""
        super().on_train_epoch_end(trainer, pl_module)
        if not self._ended:
            self._save_last(trainer)
        if self._stops(trainer):
            raise KeyboardInterrupt

    def _stops(self, trainer: Trainer) -> bool:
        """Whether any process was interrupted: saving takes all, and the signal may reach them in different steps."""
        stops: bool = trainer.strategy.reduce_boolean_decision(self._interrupted, all=False)
        return stops

    def _save_last(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.flush()  # the steps before a checkpoint will not be logged again
            self.last_model_path = str(self.last_path)
            trainer.save_checkpoint(self.last_path, weights_only=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives Ctrl-C back."""
        super().on_train_end(trainer, pl_module)
        self._release_interrupt()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Says where the run can be taken up again."""
        self._release_interrupt()
        # What kept a run from being taken up would do so again.
        fitting = trainer.state.fn == TrainerFn.FITTING and self._began
        if fitting and self.dirpath and trainer.is_global_zero and self.last_path.is_file():
            print(f"To go on from step {trainer.global_step}: skipvae fit --ckpt_path {self.last_path}", flush=True)

    def _release_interrupt(self) -> None:
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)
            self._previous_handler = None

    @property
    def last_path(self) -> Path:
        """Where `last.ckpt` is."""
        return Path(str(self.dirpath), f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}")
