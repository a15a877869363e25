"""Reading checkpoints, also those of strangers."""

import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from skipvae.component import Spec

SPEC_KEY = "skipvae"
"""Where a checkpoint keeps the description of its model."""


def read_checkpoint(path: str | Path | IO[bytes], map_location: Any = "cpu") -> dict[str, Any]:
    """The content of a checkpoint; tensors and plain types only, so that nothing in the file can run.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no checkpoint, is cut short, or holds pickled code.
    """
    if isinstance(path, (str, Path)) and not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}: see the checkpoints folder of a run")
    broken = f"{path} is not a checkpoint, or was cut short or damaged: take another one of the run"
    try:
        with zipfile.ZipFile(path) as archive:  # what is no archive is not even looked into
            if archive.testzip() is not None:  # PyTorch writes checksums, but does not compare them
                raise ValueError(broken)
        if not isinstance(path, (str, Path)):
            path.seek(0)
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds pickled code, which is never run: ask for one saved by skipvae") from error
    except Exception as error:  # anything at all, according to which byte is wrong
        raise ValueError(broken) from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ValueError(f"{path} is not a checkpoint of a Lightning module: it has no state_dict")
    return content


def spec_in(content: dict[str, Any], path: object) -> Spec:
    """What a checkpoint says about the model that it holds.

    Raises:
        ValueError: if it says nothing.
    """
    record = content.get(SPEC_KEY)
    spec = record.get("model") if isinstance(record, dict) else None
    if not isinstance(spec, dict) or not isinstance(spec.get("class_path"), str):
        raise ValueError(f"{path} was not written by skipvae: it does not say which model it holds")
    return spec


def check_fits(weights: dict[str, Tensor], model: nn.Module, path: object = "the checkpoint") -> None:
    """Raises a ValueError that names the first weight that the model and its checkpoint do not have in common."""
    found, wanted = (
        {name: " x ".join(map(str, weight.shape)) or "a number" for name, weight in state.items()}
        for state in (weights, model.state_dict())
    )
    for name in wanted | found:
        there, here = found.get(name, "absent"), wanted.get(name, "absent")
        if there != here:
            raise ValueError(
                f"{path} does not fit the model: {name} is {there} there and {here} here; "
                "take the config that it was trained with, its data included"
            )
