"""Mistakes that a command line shows at first sight, found before anything heavy is imported."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

TRAINER = {"config", "print_config", "help", "seed_everything", "trainer", "model", "data", "name", "version"}
TRAINER |= {"checkpoints", "image_grids", "latent_pictures", "text_samples", "predictions"}
TRAINER |= {"ckpt_path", "weights_only", "init_from", "init_parts"}
GENERATE = {"config", "help", "ckpt_path", "output", "num", "seed", "device"}
GENERATE |= {"temperature", "top_k", "top_p", "num_beams", "max_length"}
OPTIONS: dict[str, set[str]] = {
    "fit": TRAINER,
    "validate": TRAINER | {"verbose"},
    "test": TRAINER | {"verbose"},
    "predict": TRAINER | {"return_predictions"},
    "sample": GENERATE | {"columns"},
    "reconstruct": GENERATE | {"data", "text"},
    "interpolate": GENERATE | {"data", "steps", "start", "end"},
}
"""The options of each command by their first part: `model` of `--model.decoder.skip`."""


def check(command: str, options: Sequence[str]) -> None:
    """Refuses options and keys of config files that there are not, and commands without a model or a config.

    Raises:
        ValueError: saying what to write instead.
    """
    known = OPTIONS[command]
    names = [option for option in options if option.startswith("--")]
    for name in names:
        first = name.removeprefix("--").partition("=")[0].partition(".")[0].rstrip("+")
        if first not in known:
            raise ValueError(f"{command} has no option --{first}{suggestion(first, known, '--')}")
    if {"-h", "--help", "--print_config"} & {name.partition("=")[0] for name in options}:
        return
    given = {name.partition("=")[0] for name in options}
    if command != "fit" and "--ckpt_path" not in given and "--config" not in given:
        raise ValueError(f"skipvae {command} needs a trained model: give --ckpt_path FILE, last or best")
    if command == "fit" and not {"--config", "-c", "--ckpt_path", "--init_from", "--model"} & given:
        raise ValueError(
            "skipvae fit needs --config FILE, --ckpt_path FILE or last to resume a run, or --init_from FILE to start "
            "from the weights of one"
        )


def check_repeats(options: Sequence[str]) -> None:
    """Refuses an option that is given twice: only one of the two could be applied.

    Files after `--config` are read one after the other, and `--trainer.callbacks+` adds to a list.

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


def suggestion(word: str, known: Any, prefix: str = "") -> str:
    """What was probably meant, to be put behind a message.

    Example:
        >>> suggestion("modle", {"model", "data"})
        ': did you mean model?'
        >>> suggestion("zzz", {"model", "data"})
        ''
    """
    close = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f": did you mean {prefix}{close[0]}?" if close else ""
