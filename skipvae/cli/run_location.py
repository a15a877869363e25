"""The run folder of a command: that of the checkpoint it names, or a new one."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from skipvae.cli import slurm
from skipvae.cli.resume import check_location, check_same_run, keep_source, refuse_stranger
from skipvae.persistence import saved_runs
from skipvae.persistence.checkpoint import read_checkpoint
from skipvae.persistence.run_folder import check_name, next_folder


def find_run_folder(config: Namespace, root: Path, command: Sequence[str], parser: ArgumentParser, fit: bool) -> Path:
    """The run folder of a command, which exists if it resumes or measures a run; resolves the paths of checkpoints.

    Args:
        config: the parsed command line; best, last and run folders are replaced by the path of the checkpoint.
        root: folder of all runs.
        command: the command line as typed.
        parser: the parser of the config.
        fit: whether the command trains.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if there must be a checkpoint, or the run of the checkpoint is not the one asked for.
    """
    for part in (config.name, config.version):
        if part is not None:
            check_name(part, root)
    folder = slurm.run_of_job(root / config.name, command) if fit else None
    if folder is not None and (folder / "checkpoints" / "last.ckpt").is_file():
        config.ckpt_path = str(folder / "checkpoints" / "last.ckpt")
    if config.ckpt_path is not None:
        config.ckpt_path = str(saved_runs.checkpoint_at(config.ckpt_path, root, config.name, resume=fit))
    if config.init_from is not None:
        config.init_from = str(saved_runs.checkpoint_at(config.init_from, root))
    if isinstance(config.init_parts, str):
        config.init_parts = config.init_parts.replace(" ", "").split(",")
    checkpoint = config.ckpt_path
    if checkpoint is None:
        if not fit:
            raise ValueError(f"skipvae {command[0]} needs a trained model: give --ckpt_path FILE, last or best")
        if config.init_parts is not None and config.init_from is None:
            raise ValueError("--init_parts names parts of a checkpoint: give --init_from CHECKPOINT, too")
        if folder is None and config.version is not None:
            _check_free(root / config.name / config.version)
    elif (folder := saved_runs.folder_of(checkpoint)) is not None:
        check_location(folder, config, checkpoint)
        if fit:
            keep_source(folder, config, checkpoint)
            check_same_run(folder, config, parser, checkpoint)
    elif fit:
        read_checkpoint(checkpoint)  # raises a more specific error if it is no checkpoint at all
        refuse_stranger(checkpoint)
    return folder or (Path(root, config.name, config.version) if config.version else next_folder(root, config.name))


def _check_free(folder: Path) -> None:
    """Raises a ValueError if the folder of a new run already holds a run."""
    for checkpoint in (folder / "checkpoints").glob("*.ckpt"):
        try:
            read_checkpoint(checkpoint)
        except ValueError:  # a run that cannot be resumed may be replaced
            continue
        raise ValueError(
            f"there is a run in {folder}: resume it with --ckpt_path {checkpoint}, or name another --version"
        )
