"""What training any of the models shares: optimiser, logging, seeds, and checkpoints without code in them."""

from pathlib import Path
from typing import IO, Any, ClassVar, Self

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from pytorch_lightning.plugins.precision import DoublePrecision
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from skipvae.decoders.base import Decoder
from skipvae.models.evaluation import LikelihoodEvaluation, with_facts
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
from skipvae.text.codec import check_same_vocabulary, vocabulary_in, vocabulary_of
from skipvae.training.accumulation import average_over_group
from skipvae.training.loss_monitor import LossTerms, check_weights
from skipvae.training.plateau import step_plateau_schedulers, stop_if_finished
from skipvae.training.seeded_module import SeededModule
from skipvae.training.settings import check_trainer


class GenerativeModel(Component, SeededModule):
    """A model of x trained by maximising a bound of log p(x).

    Subclasses implement `loss`, which returns the terms to log, `validation_step` and `test_step`, which update
    `evaluation`, and offer a `decoder`.
    """

    logged: ClassVar[tuple[str, ...]] = ("elbo", "reconstruction", "kl", "mi", "au", "nll", "ppl", "bits_per_byte")
    """The results that go to the loggers, as val/... and test/..."""
    not_in_spec: ClassVar[frozenset[str]] = frozenset(
        {"optimizer", "lr_scheduler", "num_importance_samples", "max_mi_examples", "max_probe_examples", "compile"}
    )

    evaluation: LikelihoodEvaluation
    decoder: Decoder

    def __init__(
        self, optimizer: OptimizerCallable, lr_scheduler: LRSchedulerCallable | None = None, compile: bool = False
    ) -> None:
        super().__init__()
        self._to_compile = compile
        self._optimizer_factory, self._scheduler_factory = optimizer, lr_scheduler
        self.beta = 1.0
        """Weight of the KL in the training loss; set by the annealing callbacks, ignored in evaluation."""
        self.results: dict[str, Any] = {}
        """What the last validation or test measured, in full precision."""
        self.vocabulary: str | None = None
        """The vocabulary of a text model, in JSON; from its data module, and from then on in its checkpoints."""
        self._caveat: str | None = None
        self._terms = LossTerms()
        self._measured_step: int | None = None
        self._saved_optimizers: Any = None

    # -- training ---------------------------------------------------------------------------------------------------

    def loss(self, x: Tensor) -> dict[str, Tensor]:
        """The terms of the training loss, scalars in nats per example; the entry "loss" is minimised."""
        raise NotImplementedError

    @property
    def parts(self) -> list[nn.Module]:
        """The networks, which `compile` hands to torch.compile one by one."""
        raise NotImplementedError

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and, if one was chosen, its scheduler, stepped once per epoch, or validation if it follows one.

        Raises:
            ValueError: if a plateau scheduler takes a larger ELBO for a worse one.
        """
        optimizer = self._optimizer_factory(self.parameters())
        if self._scheduler_factory is None:
            return optimizer
        scheduler = self._scheduler_factory(optimizer)
        if isinstance(scheduler, ReduceLROnPlateau) and scheduler.mode != "max":
            raise ValueError("a plateau scheduler follows val/elbo, of which more is better: give it mode: max")
        # Not strict: `step_plateau_schedulers` steps plateau schedulers, and not every epoch need have a validation.
        chosen = LRSchedulerConfigType(scheduler=scheduler, monitor="val/elbo", strict=False)
        return {"optimizer": optimizer, "lr_scheduler": chosen}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Leaves plateau schedulers to `step_plateau_schedulers`."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_fit_start(self) -> None:
        """Compares the optimizers, which are configured by now, with those of the checkpoint, which are not loaded yet.

        Raises:
            ValueError: if they do not fit.
        """
        saved, self._saved_optimizers = self._saved_optimizers, None
        if saved is None or not isinstance(self.trainer.strategy, (SingleDeviceStrategy, DDPStrategy)):
            return  # other strategies save them in their own way
        check_like(saved, [{} for _ in self.trainer.optimizers], "optimizers")
        for state, optimizer in zip(saved, self.trainer.optimizers, strict=True):
            check_optimizer(state, optimizer)

    def on_train_start(self) -> None:
        """Goes no further with a run whose schedule has come to its end."""
        stop_if_finished(self.trainer)

    def setup(self, stage: str) -> None:
        """Forgets the steps of an earlier fit, before a checkpoint may restore those of its own.

        Raises:
            ValueError: if the trainer has settings that are not for these models, see `check_trainer`.
        """
        check_trainer(self.trainer)
        super().setup(stage)
        if stage == "fit" and not self.training:
            self.train()  # `load_from_checkpoint` leaves it in evaluation mode, and a Trainer leaves it so
        self._terms.clear()
        self._measured_step = self._saved_optimizers = None
        if isinstance(self.trainer.precision_plugin, DoublePrecision):
            self.double()  # Lightning does so only after it has loaded a checkpoint, whose weights it would round
        if self._to_compile:
            for part in self.parts:
                part.compile()  # in place: the names of the weights stay
            self._to_compile = False
        self.vocabulary = vocabulary_of(getattr(self.trainer, "datamodule", None)) or self.vocabulary

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Looks at the first batch of an epoch, since looking at each would take time.

        Raises:
            ValueError: if it is nothing that the model is of.
        """
        super().on_train_batch_start(batch, batch_idx)
        if batch_idx == 0:
            self._check_batch(batch)

    def _check_batch(self, batch: Any) -> None:
        if not (isinstance(batch, (tuple, list)) and batch and isinstance(batch[0], Tensor)):
            raise ValueError(
                f"a batch must be a tuple whose first entry is the tensor x, but is a {type(batch).__name__}"
            )
        self._caveat = self.decoder.check(batch[0])

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """One step on a batch whose first entry is x."""
        terms = self.loss(batch[0])
        try:
            whole = (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0
            self._record(terms, ends_step=whole or self.trainer.is_last_batch)
        except FloatingPointError:
            if not batch[0].isfinite().all():
                raise FloatingPointError(
                    f"the data of step {self.global_step} holds NaN or infinity: fix or leave out such examples"
                ) from None
            raise
        return terms["loss"]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Averages over the batches of an accumulated step, also where the epoch ends in the midst of it."""
        average_over_group(self.trainer, optimizer)

    def _record(self, terms: dict[str, Tensor], ends_step: bool = True) -> None:
        """Gathers the terms on the device; hands their means to the loggers only when they write.

        Calling `self.log` at every step would cost more than a small model's whole step.
        """
        self._terms.add(self.global_step, terms)
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        due = ends_step and (self.global_step + 1) % max(1, every) == 0
        if due:
            self._check_finite()
            means = self._terms.means()
            self.log("train/loss", means.pop("loss"), prog_bar=True)
            self.log_dict({f"train/{name}": mean for name, mean in means.items()} | {"train/beta": float(self.beta)})
            self._terms.clear()
        elif self.device.type == "cpu" and self.trainer.world_size == 1:  # elsewhere looking would mean waiting
            self._check_finite(latest_only=True)

    def _check_finite(self, latest_only: bool = False) -> None:
        """Stops all processes or none: one that went on alone would wait for the others forever."""
        error = self._terms.error(latest_only)
        if error is not None and latest_only:  # here the steps before were in order, so broken weights say more
            check_weights(self.named_parameters(), self.global_step)
        if self.trainer.strategy.reduce_boolean_decision(error is not None, all=False):
            raise FloatingPointError(error or "the loss is no longer finite in another process, which says more")

    # -- evaluation -------------------------------------------------------------------------------------------------

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """As in training."""
        super().on_validation_batch_start(batch, batch_idx, dataloader_idx)
        if batch_idx == 0:
            self._check_batch(batch)

    def on_validation_epoch_start(self) -> None:
        """Starts measuring afresh, whatever an interrupted evaluation left behind, unless training has failed."""
        self._check_finite()  # before the metrics complain, which know neither step nor term
        if self.trainer.state.fn == TrainerFn.FITTING:
            check_weights(self.named_parameters(), self.global_step)
        self.evaluation.reset()

    def on_test_epoch_start(self) -> None:
        """As in validation."""
        self.evaluation.reset()

    def on_validation_epoch_end(self) -> None:
        """Computes what was measured over the whole split and logs it."""
        self._report("val", {"elbo": True})
        if self.trainer.state.fn == TrainerFn.FITTING:
            step_plateau_schedulers(self.trainer, self.results["elbo"])

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self._report("test", {})

    def _report(self, stage: str, prog_bar: dict[str, bool]) -> None:
        data = getattr(self.trainer, "datamodule", None)
        self.results = with_facts(self.evaluation.compute(), getattr(data, "split_facts", {}).get(stage, {}))
        if self._caveat is not None:
            self.results["caveat"] = self._caveat
        self.evaluation.reset()
        for name in self.logged:
            if name in self.results:
                self.log(f"{stage}/{name}", float(self.results[name]), prog_bar=prog_bar.get(name, False))
        if self._measured_step is not None:  # of a checkpoint, which Lightning would take for step 0
            self.log("step", float(self._measured_step))

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the description of the model; refuses to save one whose loss or weights are no numbers."""
        self._check_finite()
        check_weights(self.named_parameters(), self.global_step)
        checkpoint[SPEC_KEY] = {"version": VERSION, "model": self.spec, "terms": self._terms.state_dict()}
        if self.vocabulary is not None:
            checkpoint[SPEC_KEY]["vocabulary"] = self.vocabulary

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the terms since the last write of the loggers.

        Raises:
            ValueError: if the weights in the checkpoint are not those of this model, or its vocabulary is another.
        """
        upgrade(checkpoint.get(SPEC_KEY), checkpoint["state_dict"])
        saved = vocabulary_in(checkpoint)
        check_same_vocabulary(saved, self.vocabulary)
        self.vocabulary = self.vocabulary or saved
        if self.strict_loading:
            check_fits(checkpoint, self)
        if self.trainer.state.fn != TrainerFn.FITTING:
            self._measured_step = int(checkpoint.get("global_step", 0))
            return
        loops = {"fit_loop": self.trainer.fit_loop.state_dict() | {"state_dict": {}}}  # the loader may not exist yet
        check_like(checkpoint, {"epoch": 0, "global_step": 0, "loops": loops, "callbacks": {}}, "state")
        self._saved_optimizers = checkpoint.get("optimizer_states", ())
        if "terms" in checkpoint.get(SPEC_KEY, {}):
            self._terms.load_state_dict(checkpoint[SPEC_KEY]["terms"])

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
        checkpoint = read_checkpoint(checkpoint_path, map_location)
        spec = spec_in(checkpoint, checkpoint_path)
        with no_larger_than(checkpoint["state_dict"], checkpoint_path):
            model = build(spec, cls, **overrides)
        if strict:
            check_fits(checkpoint, model, checkpoint_path)
        model.load_state_dict(checkpoint["state_dict"], strict=strict)
        model.vocabulary = vocabulary_in(checkpoint)
        return model.to(map_location).eval() if isinstance(map_location, (str, torch.device)) else model.eval()
