"""The command line: `skipvae fit|validate|test|predict` by LightningCLI, and the commands of `skipvae.commands`."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar, TQDMProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from skipvae import callbacks, commands, runs
from skipvae.checkpoint import read_checkpoint
from skipvae.logger import RunLogger

USAGE = """usage: skipvae COMMAND [options]      (skipvae COMMAND --help says more)

train and measure, from a config file whose every value can be overridden:
  fit            train:                    skipvae fit --config configs/mnist/mlp.yaml --model.decoder.skip true
                 resume:                   skipvae fit --ckpt_path last
  test           measure the test split:   skipvae test --ckpt_path lightning_logs/NAME/version_0/checkpoints/best.ckpt
  validate       measure the validation split
  predict        write the posterior of every test example to a CSV file

look at a trained model:
  sample         draw from the model:      skipvae sample --ckpt_path best --output samples.png
  reconstruct    decode the posterior means of test examples
  interpolate    decode the way from one test example to another
"""

USER_ERRORS = (ValueError, OSError, ModuleNotFoundError, FloatingPointError, MisconfigurationException)
"""What a user can mend: told in a line, with exit status 2; SKIPVAE_TRACEBACK=1 shows where it came from."""


class SaveConfig(SaveConfigCallback):
    """Writes the full config into the run folder when training starts, without what belongs to one call only."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes on fit; an evaluation leaves the config of the run alone."""
        if stage == "fit":
            for once in ("ckpt_path", "weights_only"):
                self.config.pop(once, None)
            super().setup(trainer, pl_module, stage)

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the config in TensorBoard's hparams tab."""
        if isinstance(trainer.logger, RunLogger):
            trainer.logger.log_hyperparams(self.config.as_dict())


class SkipVAECLI(LightningCLI):
    """LightningCLI with our defaults: run folders, checkpoints, reports, and sizes that are written once."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the run's name, the callbacks that every run has, and the links between data and model."""
        parser.add_argument("--name", type=str, default="skipvae", help="The run goes to lightning_logs/NAME/version_N.")
        parser.add_lightning_class_args(callbacks.BestAndLast, "checkpoints")
        parser.add_lightning_class_args(callbacks.ImageGrids, "image_grids")
        parser.add_lightning_class_args(callbacks.LatentPictures, "latent_pictures")
        parser.add_lightning_class_args(callbacks.PredictionWriter, "predictions")
        parser.link_arguments(
            "model.init_args.decoder.init_args.latent_dim", "model.init_args.encoder.init_args.latent_dim"
        )
        for size in ("image_shape", "vocab_size"):
            for part in ("encoder", "decoder"):
                parser.link_arguments(
                    "data", f"model.init_args.{part}.init_args.{size}", _attribute(size), apply_on="instantiate"
                )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the command line, or the arguments of a call from Python."""
        self.config = parser.parse_args(args)

    def before_instantiate_classes(self) -> None:
        """Settles which checkpoint is meant, and puts the run into its folder."""
        config = self.config[self.subcommand]
        config.weights_only = True  # a checkpoint can run no code
        logger = config.trainer.logger
        ours = getattr(logger, "class_path", None) == "skipvae.logger.RunLogger"
        if ours:
            logger.init_args.name = config.name
        checkpoint = config.ckpt_path
        if checkpoint in ("last", "best") and ours:
            checkpoint = str(runs.newest_checkpoint(logger.init_args.save_dir, config.name, checkpoint))
        if checkpoint is None:
            if self.subcommand != "fit":
                raise ValueError(f"skipvae {self.subcommand} needs a trained model: give --ckpt_path FILE, last or best")
            return
        config.ckpt_path = checkpoint
        read_checkpoint(checkpoint)  # a clear error now rather than a traceback of the loader later
        folder = runs.folder_of(checkpoint)
        if folder is not None and ours:  # what is measured of a run, or added to it, belongs to its folder
            logger.init_args.save_dir, logger.init_args.name = str(folder.parent.parent), folder.parent.name
            logger.init_args.version = folder.name

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with a progress bar that does not slow small models down."""
        trainer_config = self._get(self.config_init, "trainer", default={})
        given = trainer_config.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        extra = [callbacks.Report()]
        if trainer_config.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in given):
            extra.append(TQDMProgressBar(refresh_rate=25))
        trainer_config["callbacks"] = given + extra
        return super().instantiate_trainer(**kwargs)


def _attribute(name: str) -> Callable[[Any], Any]:
    return lambda data: getattr(data, name, None)


def with_config_of_run(args: list[str]) -> list[str]:
    """Adds `--config` of the run folder to a command that names a checkpoint and no config."""
    has_config = any(arg in ("-c", "--config", "--model") or arg.startswith(("--config=", "--model=")) for arg in args)
    checkpoint = _option(args, "--ckpt_path")
    if has_config or checkpoint is None:
        return args
    if checkpoint in ("last", "best"):
        checkpoint = str(runs.newest_checkpoint(name=_option(args, "--name"), kind=checkpoint))
        args = _without_option(args, "--ckpt_path") + ["--ckpt_path", checkpoint]
    folder = runs.folder_of(checkpoint)
    if folder is None:
        raise ValueError(f"there is no config.yaml beside {checkpoint}: give the --config that it was trained with")
    return [args[0], "--config", str(folder / "config.yaml"), *args[1:]]


def _option(args: Sequence[str], name: str) -> str | None:
    for position, arg in enumerate(args):
        if arg == name and position + 1 < len(args):
            return args[position + 1]
        if arg.startswith(f"{name}="):
            return arg.partition("=")[2]
    return None


def _without_option(args: Sequence[str], name: str) -> list[str]:
    kept, skip = [], False
    for arg in args:
        if skip:
            skip = False
        elif arg == name:
            skip = True
        elif not arg.startswith(f"{name}="):
            kept.append(arg)
    return kept


def run(args: list[str]) -> Any:
    """Runs one command; raises what goes wrong. The value is the CLI object for fit, validate, test and predict."""
    command = args[0]
    if command in commands.COMMANDS:
        return commands.run(args)
    return SkipVAECLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=SaveConfig,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=1,
        load_from_checkpoint_support=False,  # our checkpoints say themselves how to rebuild the model
        trainer_defaults={
            "logger": {"class_path": "skipvae.logger.RunLogger", "init_args": {"save_dir": runs.LOG_ROOT}},
        },
        args=with_config_of_run(args),
    )


def main(args: list[str] | None = None) -> None:
    """Entry point of `skipvae` and `python -m skipvae`."""
    args = list(sys.argv[1:] if args is None else args)
    known = {*SkipVAECLI.subcommands(), *commands.COMMANDS}
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        sys.exit(0 if args else 2)
    if args[0] not in known:
        print(f"skipvae: error: there is no command {args[0]}: choose from {', '.join(sorted(known))}", file=sys.stderr)
        sys.exit(2)
    sys.path.insert(0, str(Path.cwd()))  # so that configs find classes in the folder one works in
    try:
        run(args)
    except USER_ERRORS as error:
        if os.environ.get("SKIPVAE_TRACEBACK"):
            raise
        print(f"skipvae: error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)


def one_line(error: BaseException) -> str:
    """The message of an error, without the layers that parsers and trainers wrap around it."""
    while isinstance(error.__cause__, USER_ERRORS):
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
