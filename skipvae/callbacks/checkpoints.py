"""Checkpoints: the best and the last, and one more when training is stopped."""

import signal
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from skipvae.compatibility import log_step, save_at_epoch_end
from skipvae.persistence.atomic import atomic_write
from skipvae.persistence.checkpoint import check_like
from skipvae.training.accumulation import ends_step
from skipvae.training.signals import StopRequests, stop_error


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
    """Keeps `best.ckpt` by validation ELBO and `last.ckpt`, which Ctrl-C and SIGTERM save at the end of the step.

    With several processes that is the next step that is logged.

    `last.ckpt` is written at the end of every epoch, whether the epoch was the best so far or not. A training that
    ends within an epoch, by `max_steps` or `max_time`, is saved there and validated: a resumed run finishes the epoch.

    Args:
        monitor: the metric of the best checkpoint; larger is better.
        every_n_train_steps: also save `last.ckpt` this often within an epoch; 0 for the ends of epochs only.
    """

    def __init__(self, monitor: str = "val/elbo", every_n_train_steps: int = 0) -> None:
        # Not `save_last`, with which Lightning writes `last.ckpt` only after an epoch that was the best so far.
        super().__init__(filename="best", monitor=monitor, mode="max", save_top_k=1, enable_version_counter=False)
        self._last_every = every_n_train_steps
        self._began = self._ended = self._stop_due = False
        self._requests = StopRequests()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Has checkpoints written whole, and removes unfinished ones that a kill left behind."""
        super().setup(trainer, pl_module, stage)
        self._began = False
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        if stage == "fit" and trainer.is_global_zero:
            for leftover in Path(str(self.dirpath)).glob(".*.partial"):
                leftover.unlink()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best checkpoint so far, also where the run folder has moved or has another path now.

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
        """Handles Ctrl-C and SIGTERM for the time of training."""
        super().on_train_start(trainer, pl_module)
        self._began, self._ended, self._stop_due = True, False, False
        save_at_epoch_end(self, None)  # as Lightning chooses
        self._requests.listen(trainer.received_sigterm)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves `last.ckpt` when it is due, and when the user has asked to stop."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.is_last_batch:
            # A checkpoint from here would count the epoch as whole, and its validation would never be made.
            self._ended, trainer.should_stop = False, trainer.should_stop or self._stop_due
            return
        if not ends_step(trainer, batch_idx):
            # Within a step, whose gradient so far would be lost: a request to stop has to wait.
            self._stop_due = self._stop_due or _may_stop(trainer)
            trainer.should_stop = trainer.should_stop and not self._stop_due
            return
        # Several processes have to agree, which means waiting for the device, so they do it now and then.
        alone, every = trainer.world_size == 1, max(1, trainer.log_every_n_steps)  # type: ignore[attr-defined]
        interrupted = (alone or trainer.global_step % every == 0) and self._stops(trainer)
        self._ended = trainer.global_step == trainer.max_steps or self._stop_due or _may_stop(trainer)
        if interrupted or self._ended or (self._last_every and trainer.global_step % self._last_every == 0):
            log_step(trainer)
            self._save_last(trainer)
        if interrupted:
            raise self._stop_error(trainer)
        if self._ended:
            trainer.should_stop = True  # Lightning validates then, as at the end of an epoch
            save_at_epoch_end(self, False)  # but after the validation: `best.ckpt` is within the epoch, too

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves `last.ckpt` if this validation has ended the training within an epoch."""
        super().on_validation_end(trainer, pl_module)
        within = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and not trainer.is_last_batch
        if within and not self._ended and _may_stop(trainer):
            self._ended = True
            self._save_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves `best.ckpt` if the epoch was the best so far, and `last.ckpt`; then stops if the user has asked to."""
        super().on_train_epoch_end(trainer, pl_module)
        if not self._ended:
            self._save_last(trainer)
        if self._stops(trainer):
            raise self._stop_error(trainer)

    def _stops(self, trainer: Trainer) -> bool:
        """Whether any process is to stop: saving takes all, and the signal may reach them in different steps."""
        stops: bool = trainer.strategy.reduce_boolean_decision(self._requests.signal is not None, all=False)
        return stops

    def _stop_error(self, trainer: Trainer) -> BaseException:
        """Of the same signal in all processes."""
        terminated = self._requests.signal == signal.SIGTERM
        terminated = trainer.strategy.reduce_boolean_decision(terminated, all=False)
        return stop_error(signal.SIGTERM if terminated else signal.SIGINT)

    def _save_last(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.flush()  # the steps before a checkpoint will not be logged again
                elif isinstance(logger, CSVLogger):
                    logger.save()
            self.last_model_path = str(self.last_path)
            trainer.save_checkpoint(self.last_path, weights_only=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the handlers of the signals."""
        super().on_train_end(trainer, pl_module)
        self._requests.release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Prints the step from which the run can be resumed: that of the file, which may not be the last one done."""
        self._requests.release()
        # An error that kept a run from being resumed would do so again.
        fitting = trainer.state.fn == TrainerFn.FITTING and self._began
        if fitting and self.dirpath and trainer.is_global_zero and self.last_path.is_file():
            step = torch.load(self.last_path, map_location="cpu", mmap=True, weights_only=True)["global_step"]
            print(f"To continue from step {step}: skipvae fit --ckpt_path {self.last_path}", flush=True)

    @property
    def last_path(self) -> Path:
        """Where `last.ckpt` is."""
        return Path(str(self.dirpath), f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}")


def _may_stop(trainer: Trainer) -> bool:
    """Whether the trainer has been asked to stop and is past its minimum of epochs and steps."""
    epochs, steps = trainer.min_epochs or 0, trainer.min_steps or 0
    return trainer.should_stop and trainer.current_epoch >= epochs and trainer.global_step >= steps
