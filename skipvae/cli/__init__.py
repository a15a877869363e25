"""The command line. This file imports nothing heavy, so that help and mistyped commands are answered at once."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_lightning import Callback

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

compare models in many runs, see configs/quickstart/images.yaml:
  study run      do what is left of a study, then report:      skipvae study run FILE --jobs 4
  study report   table and pictures, nothing is trained again: skipvae study report FILE
"""

TRAINER_COMMANDS = ("fit", "validate", "test", "predict")
GENERATE_COMMANDS = ("sample", "reconstruct", "interpolate")
COMMANDS = (*TRAINER_COMMANDS, *GENERATE_COMMANDS, "study")


def run(args: list[str], callbacks: "Sequence[Callback]" = ()) -> Any:
    """Runs one command; raises what goes wrong. The value is the CLI object for fit, validate, test and predict."""
    if args[0] == "study":
        from skipvae import study

        return study.main(args[1:], launch=run)
    from skipvae.yaml_files import use_for_arguments

    use_for_arguments()
    if args[0] in GENERATE_COMMANDS:
        from skipvae.cli import generate

        return generate.run(args)
    from skipvae.cli import trainer_cli

    return trainer_cli.run(args, callbacks)


def main(args: list[str] | None = None) -> None:
    """Entry point of `skipvae` and `python -m skipvae`."""
    args = list(sys.argv[1:] if args is None else args)
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        sys.exit(0 if args else 2)
    if args[0] == "--version":
        print(f"skipvae {version('skipvae')}")
        sys.exit(0)
    if args[0] not in COMMANDS:
        print(f"skipvae: error: there is no command {args[0]}: choose from {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    sys.path.insert(0, str(Path.cwd()))  # so that configs find classes in the folder one works in
    try:
        run(args)
    except Exception as error:
        from skipvae.errors import told

        line = told(error)
        if line is None or os.environ.get("SKIPVAE_TRACEBACK"):
            raise
        print(f"skipvae: error: {line}", file=sys.stderr)
        sys.exit(2)
