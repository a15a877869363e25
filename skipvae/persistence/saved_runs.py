"""Saved runs: finding their folders `lightning_logs/NAME/version_N` and checkpoints, and reading their configs."""

from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from pytorch_lightning import LightningDataModule

from skipvae.persistence.spec import class_paths
from skipvae.persistence.strict_yaml import load_yaml

LOG_ROOT = "lightning_logs"
CHECKPOINTS = "checkpoints"
"""Folder in a run folder."""


def root_of(asked: str | Path | None) -> Path:
    """The folder of all runs: that of `--trainer.default_root_dir`, else lightning_logs.

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


def checkpoint_at(asked: str, root: str | Path = LOG_ROOT, name: str | None = None, resume: bool = False) -> Path:
    """The checkpoint that `--ckpt_path` or `--init_from` names.

    Args:
        asked: a file; a run folder, for its best checkpoint, or its last one to resume; or `best` or `last`, for that
            of the newest run.
        root: folder of all runs, for `best` and `last`.
        name: of the runs among which `best` and `last` look; all runs when not given.
        resume: whether training is to be resumed.

    Raises:
        FileNotFoundError: if there is no run, or the run has no such checkpoint.
    """
    if asked in ("best", "last"):
        return newest_checkpoint(root, name, asked)
    path = Path(asked)
    if not path.is_dir():
        return path
    folder = path.parent if path.name == CHECKPOINTS else path
    return folder / CHECKPOINTS / "last.ckpt" if resume else best_checkpoint(folder)


def best_checkpoint(folder: Path) -> Path:
    """The best checkpoint of a run, or its last one if nothing decided which is best.

    Raises:
        FileNotFoundError: if the run has no checkpoint.
    """
    for name in ("best", "last"):
        checkpoint = folder / CHECKPOINTS / f"{name}.ckpt"
        if checkpoint.is_file():
            return checkpoint
    raise FileNotFoundError(f"there is no best.ckpt or last.ckpt in {folder / CHECKPOINTS}: is {folder} a run folder?")


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
    """Imports the modules of all classes in the model config of a checkpoint's run, the user's own ones included.

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
