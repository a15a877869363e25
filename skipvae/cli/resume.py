"""Checks of a command that resumes a run: it asks for the same run, in the same folder."""

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from skipvae.persistence import saved_runs
from skipvae.persistence.settings import MAY_CHANGE, differences


def check_location(folder: Path, config: Namespace, checkpoint: str) -> None:
    """Raises a ValueError if a command gives a run another name or folder than it has."""
    saved = saved_runs.config_of(folder)
    root, version = config.trainer.default_root_dir, config.version
    for option, asked, has in (
        ("--name", config.name, (saved.get("name"), folder.parent.name)),
        ("--version", version, (None, folder.name)),
        (
            "--trainer.default_root_dir",
            root and Path(root).expanduser().resolve(),
            (None, folder.parent.parent, Path((saved.get("trainer") or {}).get("default_root_dir") or "").resolve()),
        ),
    ):
        if asked not in has:
            raise ValueError(
                f"{checkpoint} belongs to the run {folder}, so {option} {asked} does not apply: leave it out"
                f"{_new_run_advice(config, checkpoint)}"
            )


def check_same_run(folder: Path, config: Namespace, parser: ArgumentParser, checkpoint: str) -> None:
    """Raises a ValueError if a command that resumes a run asks for another experiment.

    Settings that the checkpoint would override, or that would change midway, are refused; see
    `skipvae.persistence.settings.MAY_CHANGE`.
    """
    saved = saved_runs.config_of(folder)
    wanted = yaml.safe_load(parser.dump(config, skip_none=False, skip_validation=True))
    differ = list(differences(saved, wanted, MAY_CHANGE))
    if not differ:
        return
    key, was, now = differ[0]
    more = f" (and {len(differ) - 1} more settings differ)" if len(differ) > 1 else ""
    raise ValueError(
        f"the run {folder} was made with --{key}={_short(was)}, not {_short(now)}{more}, and a run is resumed as it "
        f"was made: leave that out{_new_run_advice(config, checkpoint)}"
    )


def keep_source(folder: Path, config: Namespace, checkpoint: str) -> None:
    """Keeps in the config of a resumed run the checkpoint of its first weights, which are not loaded again.

    Raises:
        ValueError: if another source is asked for.
    """
    saved = saved_runs.config_of(folder)
    if config.init_from not in (None, saved.get("init_from")):
        raise ValueError(f"the run of {checkpoint} is resumed with its own weights: give --ckpt_path or --init_from")
    config.init_from, config.init_parts = saved.get("init_from"), saved.get("init_parts")


def refuse_stranger(checkpoint: str) -> None:
    """Raises a ValueError for a checkpoint to resume from that lies in no run folder."""
    raise ValueError(
        f"there is no config.yaml beside {checkpoint}, so its settings are unknown: resume it in its own "
        f"folder, or start a new run from its weights: skipvae fit --config CONFIG --init_from {checkpoint}"
    )


def _new_run_advice(config: Namespace, checkpoint: str) -> str:
    return f", or start a new run from its weights: skipvae fit --init_from {checkpoint}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
