"""The command line: `skipvae fit|validate|test|predict` by LightningCLI, and the commands of `skipvae.cli.generate`."""

from argparse import ArgumentError
from collections.abc import Sequence
from contextlib import ExitStack
from inspect import signature
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar, TQDMProgressBar
from pytorch_lightning.cli import LightningArgumentParser

from skipvae.callbacks import (
    BestAndLast,
    ImageGrids,
    LatentPictures,
    PredictionWriter,
    Report,
    RunLogger,
    TablePlots,
    TextSamples,
)
from skipvae.cli import slurm, usage
from skipvae.cli.argv import refuse_linked, refuse_two_starts, with_config_of_run
from skipvae.cli.class_names import about_class
from skipvae.cli.config_files import with_one_config
from skipvae.cli.init_from import initialize
from skipvae.cli.loggers import KeepIds, ended_wandb_run, place_loggers, with_save_dir
from skipvae.cli.message_filter import filter_messages
from skipvae.cli.results_folder import folder_of_results
from skipvae.cli.run_location import find_run_folder
from skipvae.cli.save_config import SaveConfig
from skipvae.compatibility import ConfigOnlyCLI, cluster_environment
from skipvae.errors import one_line
from skipvae.persistence import saved_runs
from skipvae.persistence.checkpoint import check_fits, read_checkpoint, spec_in
from skipvae.persistence.run_folder import Note, RunFolder, locked, new_folder
from skipvae.persistence.spec import class_path
from skipvae.persistence.strict_yaml import load_text
from skipvae.training.codecs import check_same_codecs, codecs_in, codecs_of


class SkipVAECLI(ConfigOnlyCLI):
    """LightningCLI with our defaults: run folders, checkpoints, reports, and sizes that are written once."""

    def __init__(self, *args: Any, command: Sequence[str] = (), **kwargs: Any) -> None:
        self._command = command
        self._note: Note | None = None
        with ExitStack() as self._held, ended_wandb_run():  # the lock of the run folder, while the command runs
            super().__init__(*args, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the run's name, the callbacks that every run has, and the links between data and model."""
        self.command_parser = parser
        root = f"{saved_runs.LOG_ROOT} or --trainer.default_root_dir"
        for option, type_, default, text in (
            ("--name", str, "skipvae", f"The run goes to ROOT/NAME/version_N, where ROOT is {root}."),
            ("--version", str | None, None, "Name of the run's own folder instead of version_N."),
            (
                "--init_from",
                str | None,
                None,
                "fit: start from the weights in this checkpoint (file, run folder, best or last).",
            ),
            ("--init_parts", str | list[str] | None, None, "fit: parts to load, such as encoder,decoder."),
        ):
            parser.add_argument(option, type=type_, default=default, help=text)
        parser.add_lightning_class_args(BestAndLast, "checkpoints")
        parser.add_lightning_class_args(ImageGrids, "image_grids")
        parser.add_lightning_class_args(LatentPictures, "latent_pictures")
        parser.add_lightning_class_args(TablePlots, "table_plots")
        parser.add_lightning_class_args(TextSamples, "text_samples")
        parser.add_lightning_class_args(PredictionWriter, "predictions")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)
        parser.link_arguments(
            "model.init_args.decoder.init_args.latent_dim", "model.init_args.encoder.init_args.latent_dim"
        )
        for size, of_data in {"image_shape": _shape_of, "vocab_size": _vocab_size_of}.items():
            for part in ("encoder", "decoder"):
                parser.link_arguments(
                    "data", f"model.init_args.{part}.init_args.{size}", of_data, apply_on="instantiate"
                )

    def setup_parser(self, *args: Any, **kwargs: Any) -> None:
        """Makes Lightning's own table of the results an option: `Report` prints them with their meaning."""
        super().setup_parser(*args, **kwargs)
        if {"validate", "test"} & self.subcommands().keys():
            self.command_parser.set_defaults({"verbose": False})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the command line, or the arguments of a call from Python."""
        try:
            self.config = parser.parse_args(args)
        except ArgumentError as error:
            known, line = vars(self.command_parser.get_defaults().as_flat()), one_line(error)
            raise ValueError(about_class(line) or line + usage.suggestion_for_nested(line, known)) from error

    def before_instantiate_classes(self) -> None:
        """Resolves the checkpoint and the run folder."""
        config = self.config[self.subcommand]
        config.weights_only = True  # a checkpoint can run no code
        _refuse_null(config.trainer)
        if config.seed_everything is not None and "seed" in (of_data := config.data.get("init_args", {})):
            of_data.seed = int(config.seed_everything)  # by now a number, also if it was `true`
        fit, root = self.subcommand == "fit", saved_runs.root_of(config.trainer.default_root_dir)
        location = find_run_folder(config, root, self._command, self.command_parser, fit)
        self._asked = config.clone()  # before the run folder is filled in
        self._writes = not config.trainer.fast_dev_run
        folder = location
        if self._writes and slurm.process_rank() == 0:
            if not location.is_dir():
                folder = self._held.enter_context(new_folder(root, config.name, config.version))
            if fit:
                self._note = self._held.enter_context(locked(folder, **slurm.job_facts(self._command)))
        run = folder
        if not fit and (location / "config.yaml").is_file():
            folder = folder_of_results(location, config.ckpt_path, config, self.command_parser)
        config.trainer.default_root_dir = str(folder)  # the only one in which Lightning looks for SLURM's checkpoints
        self._services = place_loggers(config, folder, run)

    def after_instantiate_classes(self) -> None:
        """Checks the checkpoint before anything runs or is written, not only when it is loaded."""
        config = self.config[self.subcommand]
        if config.ckpt_path is None:
            if config.init_from is not None:
                initialize(self.model, config.init_from, config.init_parts, codecs_of(self.datamodule))
            return
        path, model = config.ckpt_path, class_path(type(self.model))
        content = read_checkpoint(path)
        saved = spec_in(content, path)["class_path"]
        if saved != model:
            raise ValueError(
                f"{path} holds a {saved}, but the config asks for a {model}: take the config of its own run"
            )
        check_same_codecs(codecs_in(content), codecs_of(self.datamodule), path)
        check_fits(content, self.model, path)

    def before_fit(self) -> None:
        """Prints the source of the weights; under SLURM, a job whose time is up saves and is queued again."""
        config = self.config[self.subcommand]
        if config.init_from is not None and config.ckpt_path is None and self.trainer.is_global_zero:
            print(f"a new run from {' and '.join(config.init_parts or ['all weights'])} in {config.init_from}")
        environment = cluster_environment(self.trainer)
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue and environment.requeue_signal:
            self._held.enter_context(slurm.queued_again(environment.requeue_signal, self._note))

    def after_fit(self) -> None:
        """Prints the best checkpoint and the next command."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        best = next((ours.best_model_path for ours in callbacks if isinstance(ours, BestAndLast)), None)
        if best and self.trainer.is_global_zero:
            print(f"best checkpoint: {best}\nto measure it:   skipvae test --ckpt_path {best}")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with a progress bar that does not slow small models down."""
        trainer_config = self.config_init[self.subcommand].trainer
        given = trainer_config.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        bars = [bar for bar in (*given, *self.trainer_defaults["callbacks"]) if isinstance(bar, ProgressBar)]
        if any(isinstance(bar, ProgressBar) for bar in self.trainer_defaults["callbacks"]):
            trainer_config["enable_progress_bar"] = None  # a study follows progress by this bar
        if trainer_config.get("enable_progress_bar") is not False and not bars:
            bars = [TQDMProgressBar(refresh_rate=25)]
            given = [*given, *bars]
        asked = self._asked.as_dict()
        report = Report({"data": asked["data"], "limit_test_batches": asked["trainer"]["limit_test_batches"]})
        folder = Path(trainer_config["default_root_dir"])
        own: list[Callback] = [RunFolder(folder), KeepIds(folder, self._services)] if self._writes else []
        if self._writes and self.subcommand == "fit":
            own.append(SaveConfig(self.command_parser, self._asked, self._command))
        trainer_config["callbacks"] = [
            *given,
            *own,
            report,
        ]  # the bar first, so that it ends before the table is printed
        return super().instantiate_trainer(**kwargs)


def _refuse_null(trainer: Any) -> None:
    """Raises a ValueError for a null where the trainer takes a number or a switch; the parser accepts it."""
    for name, parameter in signature(Trainer.__init__).parameters.items():
        if parameter.annotation in (bool, int) and name in trainer and trainer[name] is None:
            raise ValueError(f"trainer.{name} is null: leave it out, or give a value such as {parameter.default}")


def _shape_of(data: Any) -> Any:
    """(C, H, W) of images, or (D,) of a table."""
    num_columns = getattr(data, "num_columns", None)
    return getattr(data, "image_shape", None) if num_columns is None else (num_columns,)


def _vocab_size_of(data: Any) -> Any:
    return getattr(data, "vocab_size", None)


def run(args: list[str], callbacks: Sequence[Callback] = ()) -> Any:
    """Runs fit, validate, test or predict, without handling its errors. Returns the CLI object."""
    filter_messages()
    return _start(args, callbacks, SkipVAECLI)


def parse(args: list[str]) -> dict[str, Any]:
    """The whole config that a command line asks for, all defaults included, as `--print_config` shows it.

    Raises:
        ValueError, ArgumentError: if the command line does not accept an argument.
    """

    class Parsed(Exception):  # noqa: N818 (no error: it ends the CLI object after its first step)
        """Holds the config as YAML."""

    class ParsingCLI(SkipVAECLI):
        """Builds nothing and runs nothing."""

        def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
            """Parses, and that is all."""
            super().parse_arguments(parser, args)
            raise Parsed(self.command_parser.dump(self.config[command], skip_none=False))

    command = args[0]
    try:
        _start(args, (), ParsingCLI)
    except Parsed as parsed:
        return dict(load_text(str(parsed)))
    raise AssertionError("the parser must have been called")


def _start(args: list[str], callbacks: Sequence[Callback], cli: type[SkipVAECLI]) -> SkipVAECLI:
    command = args[0]
    if not {"-h", "--help"} & {*args} and len(args) == 1:
        needs = "--config FILE" if command == "fit" else "--ckpt_path FILE, last or best"
        raise ValueError(f"skipvae {command} needs {needs}")
    refuse_linked(args)
    refuse_two_starts(args)

    class Command(cli):  # type: ignore[misc, valid-type]
        """Has the parser of the given command only: those of all four would take a third of a short run."""

        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {command: SkipVAECLI.subcommands()[command]}

    raise_errors = {"exit_on_error": False, "allow_abbrev": False}  # one line, not a page of usage; and no guesses
    return Command(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=None,  # `SaveConfig` stands among the other callbacks
        seed_everything_default=1,
        auto_configure_optimizers=False,  # optimiser and scheduler are arguments of the model
        load_from_checkpoint_support=False,  # our checkpoints hold a description of the model
        trainer_defaults={
            "logger": {"class_path": class_path(RunLogger)},
            "callbacks": list(callbacks),
        },
        parser_kwargs=raise_errors | {command: raise_errors},
        args=with_one_config(with_config_of_run(with_save_dir(args))),
        command=args,
    )
