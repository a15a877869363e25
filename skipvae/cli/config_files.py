"""The files that `--config` names: each may name its `base`, and all of them make one config."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_info

from skipvae.cli.argv import split_option, values_of
from skipvae.cli.usage import OPTIONS, TRAINER, suggestion
from skipvae.persistence.config_merge import merged
from skipvae.persistence.packaged import own_or_packaged
from skipvae.persistence.strict_yaml import dump_text, load_yaml

BASE = "base"
"""The entry of a config that names the file or files whose settings it changes, relative to itself."""

SECTIONS = ("trainer", "model", "data")
"""The entries of a config that may lie in a file of their own: `data: data.yaml`."""

Config = dict[str, Any]


def with_one_config(args: Sequence[str]) -> list[str]:
    """The command line with one config, of all that its files and their bases say, in front of every option.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is no config.
    """
    files, others = split_option(args[1:], "-c", "--config")
    if not files:
        return list(args)
    config: Config = {}
    for file in files:
        config = merged(config, read_config(own_or_packaged(Path(file))))
    if args[0] == "fit":
        config = with_own_data_settings(config, others)
    return [args[0], f"--config={dump_text(config)}", *others]


def read_config(path: Path, above: Sequence[Path] = ()) -> Config:
    """The whole config of a run that a file describes: its own settings on top of those of its bases.

    Several bases stand in their order, so that later ones win, as if all of them were given with `--config`.

    Args:
        path: the file.
        above: the files that are based on it, the outermost first.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it or one of its bases is no config, or is based on itself.
    """
    who = f"{above[-1]}: its base {path}" if above else f"the config {path}"
    if not path.is_file():
        raise FileNotFoundError(f"{who} does not exist" if above else f"there is no config {path}")
    if path.resolve() in [file.resolve() for file in above]:
        raise ValueError(f"{who} is itself based on {above[-1]}: remove one of the two {BASE} entries")
    own = load_yaml(path)
    if not isinstance(own, dict):
        raise ValueError(f"{who} holds no settings such as model and data")
    check_keys(path, own)
    own = {key: _included(path, value) if key in SECTIONS else value for key, value in own.items()}
    bases = own.pop(BASE, [])
    bases = bases if isinstance(bases, list) else [bases]
    if not all(isinstance(base, str) for base in bases):
        raise ValueError(f"{path}: {BASE} is to be a file or a list of files, relative to this one, not {bases}")
    whole: Config = {}
    for base in bases:
        whole = merged(whole, read_config(path.parent / base, (*above, path)))
    try:
        return merged(whole, own)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_keys(path: Path, content: Config) -> None:
    """Refuses what is no config of a run: a study, or a key at the top that nothing reads.

    Raises:
        ValueError: naming the file.
    """
    if "models" in content:
        raise ValueError(f"{path} is a study, not the config of a run: skipvae study run {path}")
    known = {BASE}.union(*OPTIONS.values())
    for key in map(str, content):
        first = key.partition(".")[0].rstrip("+")
        if first not in known:
            raise ValueError(f"{path}: there is no setting {key}{suggestion(first, TRAINER | {BASE})}")


def _included(path: Path, value: Any) -> Any:
    file = path.parent / value if isinstance(value, str) and value.endswith((".yaml", ".yml")) else None
    return load_yaml(file) if file is not None and file.is_file() else value


def with_own_data_settings(config: Config, args: Sequence[str]) -> Config:
    """The config on top of which `--data CLASS` is read: with that class and, if it is another, without settings."""
    data, classes = config.get("data"), values_of(args, "--data")
    if not isinstance(data, dict) or not classes or not classes[-1].rpartition(".")[2].isidentifier():
        return config
    if "." not in classes[-1] and "." in (path := str(data.get("class_path"))):
        import_module(path.rpartition(".")[0])  # its neighbours are known by their names alone
    own = merged(config, {"data": classes[-1]})
    if own["data"] == classes[-1] and data.get("init_args"):
        was, now = (str(path).rpartition(".")[2] for path in (data.get("class_path"), classes[-1]))
        settings = ", ".join(f"{name}={value}" for name, value in data["init_args"].items())
        rank_zero_info(f"{now} starts from its own defaults; the config's settings of {was} do not follow: {settings}")
    return own
