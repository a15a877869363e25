"""Run folders: `lightning_logs/NAME/version_N` holds the config, the checkpoints, the logs and the results of a run."""

from pathlib import Path

import yaml
from jsonargparse import ArgumentParser
from pytorch_lightning import LightningDataModule

LOG_ROOT = "lightning_logs"


def folder_of(checkpoint: str | Path) -> Path | None:
    """The run folder that a checkpoint lies in: the nearest folder above it with a config.yaml; None if there is none.

    Example:
        >>> folder_of("somewhere/else.ckpt") is None
        True
    """
    for folder in Path(checkpoint).resolve().parents[:2]:
        if (folder / "config.yaml").is_file():
            return folder
    return None


def newest_checkpoint(root: str | Path = LOG_ROOT, name: str | None = None, kind: str = "last") -> Path:
    """The `last` or `best` checkpoint of the newest run, of all runs or of those of this name.

    Raises:
        FileNotFoundError: if there is none.
    """
    pattern = {"last": "checkpoints/last.ckpt", "best": "checkpoints/best*.ckpt"}[kind]
    runs = Path(root).glob(f"**/{pattern}") if name is None else Path(root, name).glob(f"*/{pattern}")
    found = sorted(runs, key=lambda path: path.stat().st_mtime)
    if not found:
        where = Path(root) if name is None else Path(root, name)
        raise FileNotFoundError(f"there is no {kind} checkpoint under {where}: give --ckpt_path a file, or train first")
    return found[-1]


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
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{folder / 'config.yaml'} cannot be read ({error}): say which --data to take") from error
    if not isinstance(config, dict) or not config.get("data"):
        raise ValueError(
            f"{folder / 'config.yaml'} says nothing about data: say which --data to take the examples from"
        )
    data: LightningDataModule = parser.instantiate(parser.parse_object({"data": config["data"]})).data
    return data
