"""The base of the models: a training step, an evaluation, and the optimiser."""

import inspect
from typing import Any, ClassVar

from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from pytorch_lightning.plugins.precision import DoublePrecision
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from skipvae.decoders.base import Decoder
from skipvae.likelihoods import Measure
from skipvae.metrics.registry import METRICS
from skipvae.models.evaluation import LikelihoodEvaluation, with_bits, with_facts
from skipvae.models.sharing import Shareable
from skipvae.training.accumulation import average_over_group, ends_step
from skipvae.training.checkpoint_hooks import CheckpointHooks
from skipvae.training.fast_module import FastModule, clip_in_step
from skipvae.training.finiteness import check_weights
from skipvae.training.loss_monitor import LossMonitor, loggers_write
from skipvae.training.optimization_scalars import gradient_norm, learning_rates
from skipvae.training.plateau import scheduler_config, step_plateau_schedulers, stop_if_finished
from skipvae.training.preflight import check_trainer, examples_of, naming_data
from skipvae.training.seeded_module import SeededModule


class GenerativeModel(Shareable, CheckpointHooks, SeededModule, FastModule):
    """A model of x trained by maximising a bound of log p(x).

    Subclasses implement `loss`, which returns the terms to log, `validation_step` and `test_step`, which update
    `evaluation`, and offer a `decoder`. `docs/architecture.md` follows one training step through the files.
    """

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
        """The results of the last validation or test, in full precision."""
        self.loss_monitor = LossMonitor()
        self._likelihood_measure: Measure | None = None
        self._num_dimensions = 0

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copies: the default optimiser, a function without a name, is left out and looked up again."""
        state: dict[str, Any] = super().__getstate__()
        default = self._optimizer_factory is _default_optimizer(type(self))
        return state | {"_optimizer_factory": None} if default else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See `__getstate__`."""
        if state.get("_optimizer_factory") is None:
            state = state | {"_optimizer_factory": _default_optimizer(type(self))}
        super().__setstate__(state)  # type: ignore[no-untyped-call]

    def loss(self, x: Tensor) -> dict[str, Tensor]:
        """The terms of the training loss, scalars in nats per example; the entry "loss" is minimised."""
        raise NotImplementedError

    @property
    def parts(self) -> list[nn.Module]:
        """The networks, which `compile` hands to torch.compile one by one."""
        raise NotImplementedError

    @property
    def is_fitting(self) -> bool:
        """Whether a trainer fits the model, validations within the fit included."""
        try:
            return self.trainer.state.fn == TrainerFn.FITTING
        except RuntimeError:  # there is no trainer
            return False

    # -- before training --------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Prepares a fit or an evaluation, before a checkpoint may restore the state of its run.

        Raises:
            ValueError: if the trainer has settings that are not for these models, see `check_trainer`.
        """
        check_trainer(self.trainer)
        super().setup(stage)
        self.loss_monitor.clear()
        if stage == "fit" and not self.training:
            self.train()  # `load_from_checkpoint` leaves it in evaluation mode, and a Trainer leaves it so
        if isinstance(self.trainer.precision_plugin, DoublePrecision):
            self.double()  # Lightning does so only after it has loaded a checkpoint, whose weights it would round
        if self._to_compile:
            for part in self.parts:
                part.compile()  # in place: the names of the weights stay
            self._to_compile = False

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and, if one was chosen, its scheduler.

        Raises:
            ValueError: if a plateau scheduler takes a larger ELBO for a worse one.
        """
        optimizer = self._optimizer_factory(self.parameters())
        if self._scheduler_factory is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": scheduler_config(self._scheduler_factory(optimizer))}

    def on_train_start(self) -> None:
        """Ends a resumed run at once if its schedule had finished."""
        stop_if_finished(self.trainer)

    # -- a training step, in the order in which Lightning calls the hooks -------------------------------------------

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seeds the noise of the step; checks the first batch of an epoch, since checking each would take time.

        Raises:
            ValueError: if the model cannot be of such a batch.
        """
        super().on_train_batch_start(batch, batch_idx)
        if batch_idx == 0:
            measure = self._check(batch)
            if measure is Measure.NEITHER and self.current_epoch == 0:
                rank_zero_info(f"log p(x) is {measure}")

    def _check(self, batch: Any) -> Measure | None:
        """The decoder's check of the examples of a batch; an error names the file they come from."""
        with naming_data(self.trainer):
            return self.decoder.check(examples_of(batch))

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """The loss of a batch whose first entry is x; when the loggers are about to write, their means since then."""
        x = batch[0]
        terms = self.loss(x)
        means = self.loss_monitor.record(self, x, terms, ends_step(self.trainer, batch_idx))
        if means is not None:
            self.log("train/loss", means.pop("loss"), prog_bar=True)
            if "reconstruction" in means:  # to be compared with val/elbo, which has a KL weight of 1, too
                means["elbo"] = means["reconstruction"] - means.get("kl", 0.0)
            self.log_dict({f"train/{name}": mean for name, mean in means.items()} | {"train/beta": float(self.beta)})
        return terms["loss"]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Averages the gradients over the batches of a step, also where the epoch ends within a group of batches.

        When the loggers are about to write, it logs the gradients' norm, before clipping, and the learning rate.
        """
        average_over_group(self.trainer, optimizer)
        if loggers_write(self):
            self.log_dict({"train/gradient_norm": gradient_norm(self, optimizer), **learning_rates(optimizer)})

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradients as the trainer's settings say; a fused optimiser does so in its step, to the same effect.

        A subclass that overrides this hook sees the gradients clipped when it returns, whatever the optimiser.
        """
        overridden = type(self).configure_gradient_clipping is not GenerativeModel.configure_gradient_clipping
        if overridden or not clip_in_step(self, optimizer, gradient_clip_val, gradient_clip_algorithm):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Steps a scheduler at the end of an epoch; plateau schedulers have been stepped by the validation."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    # -- evaluation -------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Starts an evaluation, whatever an interrupted one left behind, unless training has failed."""
        self.loss_monitor.check(self)  # before the metrics complain, which know neither step nor term
        if self.is_fitting:
            check_weights(self)
        self.evaluation.reset()

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Seeds the noise of a batch and checks it: a result is about every example.

        Raises:
            ValueError: if the model cannot be of such a batch.
        """
        super().on_validation_batch_start(batch, batch_idx, dataloader_idx)
        measure = self._check(batch)
        if batch_idx == 0 or measure is Measure.NEITHER:
            self._likelihood_measure, self._num_dimensions = measure, examples_of(batch).shape[1:].numel()

    def on_validation_epoch_end(self) -> None:
        """Computes the results over the whole split and logs them."""
        self._report("val", prog_bar=("elbo",))
        if self.is_fitting:
            step_plateau_schedulers(self.trainer, self.results["elbo"])

    def on_test_epoch_start(self) -> None:
        """As in validation."""
        self.evaluation.reset()

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self._report("test")

    def _report(self, stage: str, prog_bar: tuple[str, ...] = ()) -> None:
        data = getattr(self.trainer, "datamodule", None)
        self.results = with_facts(self.evaluation.compute(), getattr(data, "split_facts", {}).get(stage, {}))
        if self._likelihood_measure is not None:
            self.results = with_bits(self.results, self._likelihood_measure, self._num_dimensions)
        self.evaluation.reset()
        for metric in METRICS:
            if metric.logged and metric.has_a_value_in(self.results):
                name = metric.key
                self.log(f"{stage}/{name}", float(self.results[name]), prog_bar=name in prog_bar)
        if self.restored_step is not None:
            self.log("step", float(self.restored_step))


def _default_optimizer(kind: type) -> Any:
    """The default of the argument `optimizer`, of the first class that has it."""
    signatures = (inspect.signature(each.__init__).parameters for each in kind.__mro__)  # type: ignore[misc]
    return next(parameters["optimizer"].default for parameters in signatures if "optimizer" in parameters)
