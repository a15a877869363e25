"""Run folders: `lightning_logs/NAME/version_N` holds the config, the checkpoints, the logs and the results of a run."""

from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from pytorch_lightning import LightningDataModule

from skipvae.persistence.spec import class_paths
from skipvae.persistence.strict_yaml import load_yaml

LOG_ROOT = "lightning_logs"


def root_of(asked: str | Path | None) -> Path:
    """The folder of all runs: what `--trainer.default_root_dir` asks for, else lightning_logs.

    Raises:
        ValueError: if it is not a folder on a disk.
    """
    if "://" in str(asked):
        raise ValueError(f"{asked} is not on a disk of this machine, where run folders have to be: give another folder")
    return Path(asked or LOG_ROOT).expanduser()


def folder_of(checkpoint: str | Path) -> Path | None:
    """The run folder that a checkpoint lies in, itself or its folder `checkpoints` at any depth; None if there is none.

    Example:
        >>> folder_of("somewhere/else.ckpt") is None
        True
    """
    path = Path(checkpoint).resolve()
    for folder in path.parents:
        inside = path.relative_to(folder).parts
        if (len(inside) == 1 or inside[0] == "checkpoints") and (folder / "config.yaml").is_file():
            return folder
    return None


def newest_checkpoint(root: str | Path = LOG_ROOT, name: str | None = None, kind: str = "last") -> Path:
    """The `last` or `best` checkpoint of the newest run, of all runs or of those of this name.

    Raises:
        FileNotFoundError: if there is no run, or the newest one has no such checkpoint.
    """
    where, below = (Path(root), "**") if name is None else (Path(root, name), "*")
    found = [path for each in ("last", "best*") for path in where.glob(f"{below}/checkpoints/{each}.ckpt")]
    if not found:
        raise FileNotFoundError(f"there is no {kind} checkpoint under {where}: give --ckpt_path a file, or train first")
    newest = max(found, key=_written).parent
    of_kind = [path for path in found if path.parent == newest and path.name.startswith(kind)]
    if not of_kind:
        raise FileNotFoundError(f"the newest run, {newest.parent}, has no {kind} checkpoint: give --ckpt_path a file")
    return max(of_kind, key=_written)


def _written(path: Path) -> float:
    return path.stat().st_mtime


def data_of(checkpoint: str | Path) -> LightningDataModule:
    """The data that the run of a checkpoint was made with.

    Raises:
        ValueError: if the checkpoint does not lie in a run folder, or its config has no data.
    """
    folder = folder_of(checkpoint)
    if folder is None:
        raise ValueError(f"there is no config.yaml beside {checkpoint}: say which --data to take the examples from")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    config = config_of(folder)
    if not config.get("data"):
        raise ValueError(
            f"{folder / 'config.yaml'} says nothing about data: say which --data to take the examples from"
        )
    data: LightningDataModule = parser.instantiate(parser.parse_object({"data": config["data"]})).data
    return data


def import_classes_of(checkpoint: str | Path) -> None:
    """Imports what the config of a checkpoint's run names as parts of its model: a user's own classes are known then.

    Raises:
        ModuleNotFoundError: if there is no such module.
        ValueError: if the config cannot be read.
    """
    folder = folder_of(checkpoint)
    for path in class_paths(config_of(folder).get("model")) if folder is not None else ():
        import_module(path.rpartition(".")[0])


def config_of(folder: Path) -> dict[str, Any]:
    """The config that a run was made with.

    Raises:
        ValueError: if it cannot be read.
    """
    path = folder / "config.yaml"
    try:
        config = load_yaml(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read, fix or remove it: {error}") from error
    return config if isinstance(config, dict) else {}
