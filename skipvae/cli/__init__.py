"""The command line. This file imports nothing heavy, so that help and mistyped commands are answered at once."""

import os
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipvae.cli import generate_options, usage

if TYPE_CHECKING:
    from pytorch_lightning import Callback

USAGE = """usage: skipvae COMMAND [options]      (skipvae COMMAND --help says more)

train and measure, from a config file whose every value can be overridden:
  fit            train:                    skipvae fit --config configs/mnist/mlp.yaml --model.decoder.skip true
                 resume:                   skipvae fit --ckpt_path last
  test           measure the test split:   skipvae test --ckpt_path lightning_logs/NAME/version_0/checkpoints/best.ckpt
  validate       measure the validation split
  predict        write the posterior of every test example to a CSV file

use a trained model:
  encode         codes of your own sentences, pictures or tables: skipvae encode --ckpt_path best mine.txt
  decode         sentences, pictures or rows of codes
  sample         draw from the model:      skipvae sample --ckpt_path best --output samples.png
  reconstruct    decode the posterior means of your own inputs, or of test examples
  interpolate    decode the line in latent space between two of them
  explore        a local page with sliders for the latent dimensions: skipvae explore --ckpt_path best --open
  export         encoder and decoder as files that run elsewhere: skipvae export --ckpt_path best --format onnx

compare models in many runs, see configs/quickstart/images.yaml:
  study run      train and test what is not finished, then report: skipvae study run FILE --jobs 4
  study report   table and figures, nothing is trained again:      skipvae study report FILE

environment variables:
  SKIPVAE_TRACEBACK=1    show where an error comes from
  SKIPVAE_FAST_STEPS=0   train without the speed tricks, should one do harm: docs/architecture.md
"""

TRAINER_COMMANDS = ("fit", "validate", "test", "predict")
GENERATE_COMMANDS = tuple(generate_options.COMMANDS)
COMMANDS = (*TRAINER_COMMANDS, *GENERATE_COMMANDS, "study")


def run(args: list[str], callbacks: "Sequence[Callback]" = ()) -> Any:
    """Runs one command, without handling its errors. Returns the CLI object for fit, validate, test and predict."""
    if args[0] in usage.OPTIONS:
        usage.check(args[0], args[1:])
    if args[0] == "study":
        from skipvae.study import options

        options.parse_options(args[1:])  # help and mistakes are answered before anything heavy is imported

        from skipvae import study

        return study.main(args[1:], launch=run, parse=parse)
    if args[0] in GENERATE_COMMANDS and {"-h", "--help"} & set(args):
        return generate_options.print_help(args[0])
    from skipvae.persistence.strict_yaml import use_for_arguments

    use_for_arguments()
    if args[0] in GENERATE_COMMANDS:
        from skipvae.cli import generate

        return generate.run(args)
    from skipvae.cli import trainer_cli

    return trainer_cli.run(args, callbacks)


def parse(args: list[str]) -> dict[str, Any]:
    """The whole config that a command such as `fit` asks for, all defaults included; nothing is run."""
    usage.check(args[0], args[1:])
    from skipvae.persistence.strict_yaml import use_for_arguments

    use_for_arguments()
    from skipvae.cli import trainer_cli

    return trainer_cli.parse(args)


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
        close = get_close_matches(args[0], COMMANDS, n=1)
        choices = f"did you mean {close[0]}?" if close else f"choose from {', '.join(COMMANDS)}"
        print(f"skipvae: error: there is no command {args[0]}: {choices}", file=sys.stderr)
        sys.exit(2)
    # Outside of training, which saves before it ends.
    previous = signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))
    sys.path.insert(0, str(Path.cwd()))  # so that configs find classes in the folder one works in
    try:
        usage.check_repeats(args[1:])
        run(args)
    except (Exception, KeyboardInterrupt) as error:
        if _interrupted(error):
            print("skipvae: interrupted", file=sys.stderr)
            sys.exit(130)
        line = _line(error)
        if line is None or os.environ.get("SKIPVAE_TRACEBACK"):
            raise
        print(f"skipvae: error: {line}", file=sys.stderr)
        sys.exit(2)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is the cause: an import that is interrupted may raise errors of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _line(error: BaseException) -> str | None:
    """The message of an error; imports `skipvae.errors` only if PyTorch is imported already."""
    if isinstance(error, ValueError) and "torch" not in sys.modules:
        return str(error)
    from skipvae.errors import user_message

    return user_message(error)
