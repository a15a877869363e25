"""Settings of a config's data do not follow to other data that `fit --data CLASS` puts in their place."""

import os
from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_info

from skipvae.cli.argv import values_of
from skipvae.persistence.strict_yaml import load_yaml


def with_own_data_settings(args: Sequence[str]) -> list[str]:
    """The command line, such that data of another class than the config's starts from the defaults of its class.

    The vocabulary size and the longest sentence of one corpus, or the binarisation of its images, would silently be
    those of another: the parser keeps whatever settings both classes have. What is typed as --data.NAME is applied.
    """
    args, configs = list(args), {}
    for end, arg in enumerate(args, 1):
        name, equals, file = arg.partition("=")
        if name in ("-c", "--config"):
            end, file = (end, file) if equals else (end + 1, "".join(args[end : end + 1]))
            configs[end] = (load_yaml(Path(file)) or {}).get("data") if os.path.isfile(file) else None
    data = next((data for data in reversed(configs.values()) if isinstance(data, dict)), {})
    classes = values_of(args, "--data")
    was, now = (str(name).rpartition(".")[2] for name in (data.get("class_path"), classes[-1] if classes else ""))
    if args[0] != "fit" or not data.get("class_path") or not now.isidentifier() or now == was:
        return args
    if data.get("init_args"):
        settings = ", ".join(f"{name}={value}" for name, value in data["init_args"].items())
        rank_zero_info(f"{now} starts from its own defaults; the config's settings of {was} do not follow: {settings}")
    end = max(configs)
    return [*args[:end], "--data=null", f"--data={classes[-1]}", *args[end:]]
