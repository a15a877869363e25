"""Checks of a command line that need nothing heavy, so that mistakes are answered at once."""

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches

from skipvae.cli import generate_options

TRAINER = {"config", "print_config", "help", "seed_everything", "trainer", "model", "data", "name", "version"}
TRAINER |= {"checkpoints", "image_grids", "latent_pictures", "table_plots", "text_samples", "predictions"}
TRAINER |= {"ckpt_path", "weights_only", "init_from", "init_parts"}
OPTIONS: dict[str, set[str]] = {
    "fit": TRAINER,
    "validate": TRAINER | {"verbose"},
    "test": TRAINER | {"verbose"},
    "predict": TRAINER | {"return_predictions"},
    **{command: {"help", *options.__dataclass_fields__} for command, options in generate_options.COMMANDS.items()},
}
"""The options of each command by their first part: `model` of `--model.decoder.skip`."""
ELSEWHERE = {("predict", "output"): "--predictions.output"}
"""Options that people look for under the name that they have in another command."""


def check(command: str, options: Sequence[str]) -> None:
    """Refuses options that do not exist, and commands without a model or a config.

    Raises:
        ValueError: naming the correction.
    """
    known = OPTIONS[command]
    names = [option for option in options if option.startswith("--")]
    for name in names:
        first = name.removeprefix("--").partition("=")[0].partition(".")[0].rstrip("+")
        if first not in known:
            if (command, first) in ELSEWHERE:
                raise ValueError(f"{command} has no option --{first}: it is called {ELSEWHERE[command, first]}")
            raise ValueError(f"{command} has no option --{first}{suggestion(first, known, '--')}")
    given = {name.partition("=")[0] for name in options}
    if {"-h", "--help", "--print_config"} & given or any(name.endswith(".help") for name in given):
        return
    if command != "fit" and "--ckpt_path" not in given and "--config" not in given:
        raise ValueError(f"skipvae {command} needs a trained model: give --ckpt_path FILE, last or best")
    if command == "fit" and not {"--config", "-c", "--ckpt_path", "--init_from", "--model"} & given:
        raise ValueError(
            "skipvae fit needs --config FILE, --ckpt_path FILE or last to resume a run, or --init_from FILE to start "
            "from the weights of one"
        )


def check_repeats(options: Sequence[str]) -> None:
    """Refuses an option that is given twice: only one of the two could be applied.

    Several `--config` are read one after the other, and `--trainer.callbacks+` adds to a list.

    Raises:
        ValueError: naming it.

    Example:
        >>> check_repeats(["--text", "one", "--text=two"])
        Traceback (most recent call last):
            ...
        ValueError: the option --text is given twice: leave one out
    """
    names = [option.partition("=")[0] for option in options if option.startswith("--")]
    lists = tuple(f"{name.rstrip('+')}." for name in names if name.endswith("+"))
    for name in names:
        adds = name == "--config" or name.endswith("+") or name.startswith(lists)
        if names.count(name) > 1 and not adds:
            raise ValueError(f"the option {name} is given twice: leave one out")


def suggestion_for_nested(message: str, known: Collection[str]) -> str:
    """The suggestion for a parser's message about an unknown option such as --trainer.max_epoch.

    Example:
        >>> suggestion_for_nested("unrecognized arguments: --trainer.max_epoch=1", {"trainer.max_epochs"})
        ': did you mean --trainer.max_epochs?'
    """
    option = re.search(r"unrecognized arguments: --([\w.]+)|does not accept option '([\w.]+)'", message)
    return suggestion(option[1] or option[2], known, "--") if option else ""


def suggestion(word: str, known: Collection[str], prefix: str = "") -> str:
    """The known word that was probably meant, to be appended to a message.

    Example:
        >>> suggestion("modle", {"model", "data"})
        ': did you mean model?'
        >>> suggestion("zzz", {"model", "data"})
        ''
    """
    close = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f": did you mean {prefix}{close[0]}?" if close else ""
