"""The folder of the results of a command that measures a run: that of the run, or one inside it for other settings."""

import hashlib
import re
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from skipvae.persistence import saved_runs
from skipvae.persistence.settings import differences

SECTIONS = ("data", "model", "seed_everything")
"""Sections of a config that results depend on."""
LIMITS = ("limit_test_batches", "limit_val_batches", "limit_predict_batches", "precision")
"""Settings of the trainer that results depend on."""
IGNORED = frozenset(
    {f"model.{name}" for name in ("optimizer", "lr_scheduler", "compile")}
    | {f"data.{name}" for name in ("data_dir", "download", "cache_dir", "batch_size", "eval_batch_size", "max_tokens")}
    | {f"data.{name}" for name in ("exact_length", "fixed_batches", "num_workers", "pin_memory")}
)
"""Settings of those sections that results do not depend on."""
LONGEST = 80
"""Characters of a folder's name; a longer one is cut, and a digest keeps it unique."""


def folder_of_results(run: Path, checkpoint: str, config: Namespace, parser: ArgumentParser) -> Path:
    """The run folder, if the settings are those of the run; else a folder in it, named after the differences.

    So `skipvae test --ckpt_path best --data.train mine.txt` leaves the run's own metrics.json, predictions and
    TensorBoard curves as they were.

    Args:
        run: the run folder.
        checkpoint: the checkpoint that is measured; another than the best, if there is a best, is a difference.
        config: the parsed command line.
        parser: the parser of the config.
    """
    asked = yaml.safe_load(parser.dump(config, skip_none=False, skip_validation=True))
    found = [
        (key.rpartition(".")[2], now)
        for key, _, now in differences(_relevant(saved_runs.config_of(run)), _relevant(asked), IGNORED)
    ]
    best = run / "checkpoints" / "best.ckpt"
    if best.is_file() and not best.samefile(checkpoint):
        found.append(("checkpoint", Path(checkpoint).stem))
    name = "with-" + "-".join(re.sub(r"[^\w.=+]+", "_", f"{key}={value}") for key, value in found)
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return run / name if found else run


def _relevant(config: dict[str, Any]) -> dict[str, Any]:
    trainer = config.get("trainer") or {}
    return {
        **{name: config.get(name) for name in SECTIONS},
        "trainer": {name: trainer.get(name) for name in LIMITS},
    }
