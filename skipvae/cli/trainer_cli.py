"""The command line: `skipvae fit|validate|test|predict` by LightningCLI, and the commands of `skipvae.cli.generate`."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar, TQDMProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from skipvae import runs
from skipvae.callbacks import BestAndLast, ImageGrids, LatentPictures, PredictionWriter, Report, TextSamples
from skipvae.checkpoint import check_fits, read_checkpoint, spec_in
from skipvae.cli.argv import refuse_linked, values_of, with_config_of_run
from skipvae.cli.data_settings import with_own_data_settings
from skipvae.cli.quiet import quieten
from skipvae.cli.usage import check_config
from skipvae.component import class_path
from skipvae.logger import RunLogger
from skipvae.models import GenerativeModel
from skipvae.persistence.atomic import atomic_write
from skipvae.sentences import check_same_vocabulary, vocabulary_in, vocabulary_of


class SaveConfig(SaveConfigCallback):
    """Writes the full config into the run folder when training starts, without what belongs to one call only."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leaves it to `on_train_start`, but for folders that only Lightning knows how to write to."""
        if stage == "fit" and trainer.loggers:
            for once in ("ckpt_path", "weights_only"):
                self.config.pop(once, None)
            if "://" in str(trainer.log_dir):
                super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the config, by now that of a run which does go on from its checkpoint."""
        folder = trainer.log_dir  # asks all processes, so it stands before what the first one does alone
        if trainer.is_global_zero and trainer.loggers and folder is not None and "://" not in folder:
            with atomic_write(Path(folder, self.config_filename)) as file:  # it takes a whole one to resume
                file.write(self.parser.dump(self.config, skip_none=False))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the config in TensorBoard's hparams tab, and keeps the vocabulary of a text model beside it."""
        folder = trainer.log_dir  # asks all processes, so it stands before what the first one does alone
        if not trainer.is_global_zero:
            return
        if isinstance(pl_module, GenerativeModel) and pl_module.vocabulary is not None and folder is not None:
            with atomic_write(Path(folder, "vocabulary.json")) as file:
                file.write(pl_module.vocabulary)
        if isinstance(trainer.logger, RunLogger):
            shown = ("seed_everything", "model", "data", "trainer")
            trainer.logger.log_hyperparams({key: self.config.as_dict()[key] for key in shown})


class SkipVAECLI(LightningCLI):
    """LightningCLI with our defaults: run folders, checkpoints, reports, and sizes that are written once."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the run's name, the callbacks that every run has, and the links between data and model."""
        parser.add_argument(
            "--name", type=str, default="skipvae", help="The run goes to lightning_logs/NAME/version_N."
        )
        parser.add_lightning_class_args(BestAndLast, "checkpoints")
        parser.add_lightning_class_args(ImageGrids, "image_grids")
        parser.add_lightning_class_args(LatentPictures, "latent_pictures")
        parser.add_lightning_class_args(TextSamples, "text_samples")
        parser.add_lightning_class_args(PredictionWriter, "predictions")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)
        parser.link_arguments(
            "model.init_args.decoder.init_args.latent_dim", "model.init_args.encoder.init_args.latent_dim"
        )
        for size in ("image_shape", "vocab_size"):
            for part in ("encoder", "decoder"):
                parser.link_arguments(
                    "data", f"model.init_args.{part}.init_args.{size}", _attribute(size), apply_on="instantiate"
                )

    def setup_parser(self, *args: Any, **kwargs: Any) -> None:
        """Makes Lightning's own table of the results an option: `Report` prints them with their meaning."""
        super().setup_parser(*args, **kwargs)
        for command, parser in self._subcommand_parsers.items():
            if command in ("validate", "test"):
                parser.set_defaults({"verbose": False})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the command line, or the arguments of a call from Python."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Leaves the config alone: Lightning would let a checkpoint's hyper-parameters override the command line."""

    def before_instantiate_classes(self) -> None:
        """Settles which checkpoint is meant, and puts the run into its folder."""
        config = self.config[self.subcommand]
        config.weights_only = True  # a checkpoint can run no code
        if config.seed_everything is not None and "seed" in (of_data := config.data.get("init_args", {})):
            of_data.seed = int(config.seed_everything)  # by now it is a number, also where `true` lets us choose one
        logger = config.trainer.logger
        ours = getattr(logger, "class_path", None) == "skipvae.logger.RunLogger"
        if ours:
            logger.init_args.name = config.name
        checkpoint = config.ckpt_path
        if checkpoint in ("last", "best") and ours:
            checkpoint = str(runs.newest_checkpoint(logger.init_args.save_dir, config.name, checkpoint))
        if checkpoint is None:
            if self.subcommand != "fit":
                raise ValueError(
                    f"skipvae {self.subcommand} needs a trained model: give --ckpt_path FILE, last or best"
                )
            return
        config.ckpt_path = checkpoint
        folder = runs.folder_of(checkpoint)
        if folder is not None and ours:  # what is measured of a run, or added to it, belongs to its folder
            logger.init_args.save_dir, logger.init_args.name = str(folder.parent.parent), folder.parent.name
            logger.init_args.version = folder.name
        if folder is not None and self.subcommand == "fit":
            _check_optimizer_stays(runs.config_of(folder), config, folder)

    def after_instantiate_classes(self) -> None:
        """Checks the checkpoint before anything runs or is written, not when it is loaded at last."""
        path = self.config[self.subcommand].ckpt_path
        if path is None:
            return
        content, model = read_checkpoint(path), class_path(type(self.model))
        saved = spec_in(content, path)["class_path"]
        if saved != model:
            raise ValueError(
                f"{path} holds a {saved}, but the config asks for a {model}: take the config of its own run"
            )
        check_same_vocabulary(vocabulary_in(content), vocabulary_of(self.datamodule), path)
        check_fits(content, self.model, path)

    def after_fit(self) -> None:
        """Says where the model is and what to do next."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        best = next((ours.best_model_path for ours in callbacks if isinstance(ours, BestAndLast)), None)
        if best and self.trainer.is_global_zero:
            print(f"best checkpoint: {best}\nto measure it:   skipvae test --ckpt_path {best}")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with a progress bar that does not slow small models down."""
        trainer_config = self._get(self.config_init, "trainer", default={})
        given = trainer_config.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        bars = [bar for bar in (*given, *self.trainer_defaults["callbacks"]) if isinstance(bar, ProgressBar)]
        if any(isinstance(bar, ProgressBar) for bar in self.trainer_defaults["callbacks"]):
            trainer_config["enable_progress_bar"] = None  # a study notes progress by one, whatever its configs show
        if trainer_config.get("enable_progress_bar") is not False and not bars:
            bars = [TQDMProgressBar(refresh_rate=25)]
            given = [*given, *bars]
        asked = self.config.as_dict()[self.subcommand]
        report = Report({"data": asked["data"], "limit_test_batches": asked["trainer"]["limit_test_batches"]})
        trainer_config["callbacks"] = [*given, report]  # the bar first, so that it has ended where the table begins
        return super().instantiate_trainer(**kwargs)


def _check_optimizer_stays(saved: dict[str, Any], config: Any, folder: Path) -> None:
    """A checkpoint holds the settings of its optimiser, which would silently win over the command line's."""
    before = ((saved.get("model") or {}).get("init_args") or {}).get("optimizer")
    now = config.as_dict()["model"].get("init_args", {}).get("optimizer")
    if json.dumps(before, sort_keys=True, default=str) != json.dumps(now, sort_keys=True, default=str):
        raise ValueError(
            f"the run {folder} goes on with the optimiser of its checkpoint, which is not the one asked for: leave out "
            "--model.optimizer, or train anew"
        )


def _attribute(name: str) -> Callable[[Any], Any]:
    return lambda data: getattr(data, name, None)


def run(args: list[str], callbacks: Sequence[Callback] = ()) -> Any:
    """Runs fit, validate, test or predict; raises what goes wrong. Returns the CLI object."""
    command = args[0]
    quieten()
    if not {"-h", "--help"} & {*args} and len(args) == 1:
        needs = "--config FILE" if command == "fit" else "--ckpt_path FILE, last or best"
        raise ValueError(f"skipvae {command} needs {needs}")
    refuse_linked(args)
    args = with_config_of_run(args)
    # The parser would not say in which file a mistake is, and would take a key that stands twice in one.
    for config in filter(os.path.isfile, values_of(args, "-c", "--config")):
        check_config(Path(config))

    class Command(SkipVAECLI):
        """Only the one that is run: the parsers of all four would take a third of a short run."""

        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {command: SkipVAECLI.subcommands()[command]}

    args = with_own_data_settings(args)
    raise_errors = {"exit_on_error": False, "allow_abbrev": False}  # one line, not a page of usage; and no guesses
    return Command(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=SaveConfig,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=1,
        auto_configure_optimizers=False,  # optimiser and scheduler are arguments of the model
        load_from_checkpoint_support=False,  # our checkpoints say themselves how to rebuild the model
        trainer_defaults={
            "logger": {"class_path": "skipvae.logger.RunLogger", "init_args": {"save_dir": runs.LOG_ROOT}},
            "callbacks": list(callbacks),
        },
        parser_kwargs=raise_errors | {command: raise_errors},
        args=args,
    )
