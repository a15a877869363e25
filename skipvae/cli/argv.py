"""What is settled of a command line before its parser sees it."""

from collections.abc import Sequence
from itertools import pairwise

from skipvae import runs
from skipvae.checkpoint import read_checkpoint

LINKED = {
    "--data.seed": "--seed_everything",
    "--model.encoder.latent_dim": "--model.decoder.latent_dim",
    **{
        f"--model.{part}.{size}": "the data"
        for part in ("encoder", "decoder")
        for size in ("image_shape", "vocab_size")
    },
}
"""What cannot be set since it follows from something else."""


def refuse_linked(args: Sequence[str]) -> None:
    """Raises a ValueError for an option whose value follows from another one and would silently give way to it."""
    for arg in args:
        option = arg.partition("=")[0].replace(".init_args", "")
        if option in LINKED:
            raise ValueError(f"{option} follows from {LINKED[option]}: set that one, or leave it out")


def with_config_of_run(args: list[str]) -> list[str]:
    """Adds `--config` of the run folder to a command that names a checkpoint and no config."""
    has_config = any(arg in ("-c", "--config", "--model") or arg.startswith(("--config=", "--model=")) for arg in args)
    checkpoint = _option(args, "--ckpt_path")
    if has_config or checkpoint is None:
        return args
    if checkpoint in ("last", "best"):
        checkpoint = str(runs.newest_checkpoint(name=_option(args, "--name"), kind=checkpoint))
        args = [*_without_option(args, "--ckpt_path"), "--ckpt_path", checkpoint]
    folder = runs.folder_of(checkpoint)
    if folder is None:
        read_checkpoint(checkpoint)  # if it is no checkpoint at all, that is what to say
        raise ValueError(f"there is no config.yaml beside {checkpoint}: give the --config that it was trained with")
    return [args[0], "--config", str(folder / "config.yaml"), *args[1:]]


def _option(args: Sequence[str], name: str) -> str | None:
    return next(iter(values_of(args, name)), None)


def values_of(args: Sequence[str], *names: str) -> list[str]:
    """The values of an option that has these names, in order."""
    separate = [value for name, value in pairwise(args) if name in names]
    joined = [arg.partition("=")[2] for arg in args if arg.startswith(tuple(f"{name}=" for name in names))]
    return separate + joined


def _without_option(args: Sequence[str], name: str) -> list[str]:
    kept, skip = [], False
    for arg in args:
        if skip:
            skip = False
        elif arg == name:
            skip = True
        elif not arg.startswith(f"{name}="):
            kept.append(arg)
    return kept
