"""Reading checkpoints, also those of strangers."""

import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import torch


def read_checkpoint(path: str | Path | IO[bytes], map_location: Any = "cpu") -> dict[str, Any]:
    """The content of a checkpoint; tensors and plain types only, so that nothing in the file can run.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no checkpoint, is cut short, or holds pickled code.
    """
    if isinstance(path, (str, Path)) and not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}: see the checkpoints folder of a run")
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise ValueError(f"{path} holds pickled code, which is never run: ask for one saved by skipvae") from error
        raise ValueError(f"{path} is not a checkpoint, or is damaged: take another one") from error
    except (RuntimeError, EOFError, zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path} is not a checkpoint, or was cut short: take another one of the run") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ValueError(f"{path} is not a checkpoint of a Lightning module: it has no state_dict")
    return content
