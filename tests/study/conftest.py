"""Studies small enough to run in tests: a few steps of a small model on a part of the embedded digits."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).absolute().parents[2]

BASE = {
    "trainer": {"max_epochs": 2, "log_every_n_steps": 1},
    "model": {
        "class_path": "skipvae.VAE",
        "init_args": {
            "encoder": {"class_path": "skipvae.encoders.MLPEncoder", "init_args": {"hidden_dim": 16}},
            "decoder": {
                "class_path": "skipvae.decoders.MLPDecoder",
                "init_args": {"latent_dim": 3, "hidden_dim": 16, "num_layers": 2},
            },
            "num_importance_samples": 2,
        },
    },
    "data": {
        "class_path": "datamodules.MNISTDigitsDataModule",
        "init_args": {"batch_size": 100, "eval_batch_size": 250, "train_size": 400},
    },
}
MODELS = {"VAE": {}, "SKIP-VAE": {"model.decoder.skip": True}}


@pytest.fixture
def write_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a study file with the given fields beside a small base config; runs go below the same folder."""
    monkeypatch.chdir(tmp_path)
    return partial(write, tmp_path)


def write(folder: Path, **fields: object) -> Path:
    """Writes a study file and its base config."""
    (folder / "base.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    content = {"name": "small", "base": "base.yaml", "models": MODELS, **fields}
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file


def command(*args: object) -> list[str]:
    """The command line in a process of its own."""
    return [sys.executable, "-m", "skipvae", "study", *map(str, args)]


def environment() -> dict[str, str]:
    """For a process that runs elsewhere than in the root of the project."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def in_process_of_its_own(*args: object) -> "subprocess.CompletedProcess[str]":
    """Runs `skipvae study` to its end."""
    return subprocess.run(command(*args), env=environment(), capture_output=True, text=True, timeout=250, check=False)
