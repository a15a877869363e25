"""The arrays that published code computed, and comparisons with what ours computes.

They come from the folder that the environment variable SKIPVAE_PARITY names, else from ../shared/data/parity beside the
project, else from tests/parity/arrays, which holds a part of them. Source: random weights and inputs, and what the
published code of three repositories (yoonkim/skip-vae at b1b6c1f, harvardnlp/sa-vae at e5187a2,
jxhe/vae-lagging-encoder at cdc4eb9) makes of them in float64. All shapes and settings follow from the arrays.
"""

import json
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

PASS, PATH, DIFFERENCES = 1e-9, 1e-7, 1e-6
"""Largest absolute differences: of one pass, of steps and gradients, and of finite differences."""

COPIED = Path(__file__).with_name("arrays")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "parity"
largest: dict[str, tuple[int, float]] = {}
"""For each file, how many arrays were compared and their largest absolute difference."""


def folder() -> Path:
    """Where the arrays are."""
    chosen = os.environ.get("SKIPVAE_PARITY")
    if chosen:
        if not any(Path(chosen).glob("*.npz")):
            raise pytest.UsageError(f"there are no arrays in {chosen}: set SKIPVAE_PARITY to their folder, or unset it")
        return Path(chosen)
    return SHARED if SHARED.is_dir() else COPIED


def each_file(*patterns: str) -> pytest.MarkDecorator:
    """Runs a test for every file that one of the patterns fits, without its suffix, as `name`."""
    files = sorted(path for path in folder().glob("*.*") if path.suffix in (".npz", ".json"))
    names = [path.stem for path in files if any(fnmatch(path.stem, pattern) for pattern in patterns)]
    return pytest.mark.parametrize("name", names)


class Arrays(dict[str, Tensor]):
    """The arrays of a file by name, as tensors: integers as int64, images as float64."""

    def __init__(self, name: str) -> None:
        self.name = name
        with np.load(folder() / f"{name}.npz") as file:
            super().__init__({key: self._tensor(file[key]) for key in file.files})

    @staticmethod
    def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.double() if tensor.dtype == torch.uint8 else tensor

    def count(self, pattern: str) -> int:
        """How many names of the form `pattern`, with {} for the number, there are from 1 on."""
        number = 0
        while pattern.format(number + 1) in self:
            number += 1
        return number

    def check(self, key: str, found: Tensor, tolerance: float = PASS) -> None:
        """Compares an array with what ours computes."""
        self.compare(key, found, self[key], tolerance)

    def compare(self, what: str, found: Tensor, wanted: Tensor, tolerance: float = PASS) -> None:
        """Compares and keeps the largest difference of the file."""
        found, wanted = found.detach().double(), wanted.detach().double()
        assert found.shape == wanted.shape, f"{self.name}, {what}: {tuple(found.shape)}, not {tuple(wanted.shape)}"
        assert torch.equal(found.isnan(), wanted.isnan()), f"{self.name}, {what}: NaN in other places"
        difference = (found - wanted).nan_to_num().abs().max().item() if found.numel() else 0.0
        number, before = largest.get(self.name, (0, 0.0))
        largest[self.name] = (number + 1, max(before, difference))
        assert difference <= tolerance, f"{self.name}, {what}: off by {difference:.3g}"


def read_json(name: str) -> dict[str, Any]:
    """A file of settings."""
    content: dict[str, Any] = json.loads((folder() / f"{name}.json").read_text())
    return content


@torch.no_grad()
def fill(module: nn.Module, **tensors: Tensor) -> None:
    """Sets parameters and buffers of a module by name, all that it has, so that none keeps what it started with."""
    own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    own.pop("num_batches_tracked", None)
    own.pop("mask", None)
    own = {name: value for name, value in own.items() if value is not None}
    assert own.keys() == tensors.keys(), (own.keys(), tensors.keys())
    for name, value in tensors.items():
        assert own[name].shape == value.shape, (name, own[name].shape, value.shape)
        own[name].copy_(value)


def fill_linear(module: nn.Module, arrays: Arrays, name: str) -> None:
    """Sets weight and, where there is one, bias of a linear map or convolution."""
    fill(module, **{part: arrays[f"{name}.{part}"] for part in ("weight", "bias") if f"{name}.{part}" in arrays})


def clamped_log_prob(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x|z) with the published clamp of probabilities to [1e-5, 1 - 1e-5], which ours does not have."""
    p = logits.sigmoid().clamp(1e-5, 1 - 1e-5)
    return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)
