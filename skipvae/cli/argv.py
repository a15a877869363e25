"""Argument preprocessing: checks and additions to a command line before it is parsed."""

from collections.abc import Sequence

from skipvae.persistence import saved_runs
from skipvae.persistence.checkpoint import read_checkpoint

LINKED = {
    "--data.seed": "--seed_everything",
    "--model.encoder.latent_dim": "--model.decoder.latent_dim",
    **{
        f"--model.{part}.{size}": "the data"
        for part in ("encoder", "decoder")
        for size in ("image_shape", "vocab_size")
    },
}
"""Options that cannot be set, since they follow from something else."""


def refuse_linked(args: Sequence[str]) -> None:
    """Raises a ValueError for an option whose value would silently be replaced by one that it follows from."""
    for arg in args:
        option = arg.partition("=")[0].replace(".init_args", "")
        if option in LINKED:
            raise ValueError(f"{option} follows from {LINKED[option]}: set that one, or leave it out")


def refuse_two_starts(args: Sequence[str]) -> None:
    """Raises a ValueError for a command that would start in two ways, or start where nothing is trained."""
    init, command = _option(args, "--init_from"), args[0]
    if init is None and _option(args, "--init_parts") is None:
        return
    if command != "fit":
        raise ValueError(f"--init_from starts the training of a new run, so it belongs to fit, not to {command}")
    checkpoint = _option(args, "--ckpt_path")
    if checkpoint is not None:
        raise ValueError(
            f"--ckpt_path {checkpoint} resumes that run and --init_from starts a new one: leave out one of the two"
        )


def with_config_of_run(args: list[str]) -> list[str]:
    """Adds `--config` of the run folder to a command that names a checkpoint and no config."""
    has_config = any(arg in ("-c", "--config", "--model") or arg.startswith(("--config=", "--model=")) for arg in args)
    option = next((name for name in ("--ckpt_path", "--init_from") if _option(args, name) is not None), None)
    if has_config or option is None:
        return args
    asked, own = _option(args, option), []
    root = saved_runs.root_of(_option(args, "--trainer.default_root_dir"))
    name = _option(args, "--name") if option == "--ckpt_path" else None  # elsewhere it names the new run
    resume = args[0] == "fit" and option == "--ckpt_path"
    checkpoint = str(saved_runs.checkpoint_at(str(asked), root, name, resume))
    args = [*split_option(args, option)[1], option, checkpoint]
    folder = saved_runs.folder_of(checkpoint)
    if folder is None:
        read_checkpoint(checkpoint)  # raises a more specific error if it is no checkpoint at all
        raise ValueError(f"there is no config.yaml beside {checkpoint}: give the --config that it was trained with")
    if option == "--init_from":  # the parts that this run itself may have been started from are another matter
        own = ["--init_parts", "null"]
    return [args[0], "--config", str(folder / "config.yaml"), *own, *args[1:]]


def _option(args: Sequence[str], name: str) -> str | None:
    return next(iter(values_of(args, name)), None)


def values_of(args: Sequence[str], *names: str) -> list[str]:
    """The values of an option that has these names, in order."""
    return split_option(args, *names)[0]


def split_option(args: Sequence[str], *names: str) -> tuple[list[str], list[str]]:
    """The values of an option that has these names, and the other arguments, both in order.

    Example:
        >>> split_option(["-c", "a.yaml", "--name", "x", "--config=b.yaml"], "-c", "--config")
        (['a.yaml', 'b.yaml'], ['--name', 'x'])
    """
    values, others, i = list[str](), list[str](), 0
    while i < len(args):
        name, equals, value = args[i].partition("=")
        if name in names and not equals and i + 1 < len(args):
            i, value, equals = i + 1, args[i + 1], "="
        if name in names and equals:
            values.append(value)
        else:
            others.append(args[i])
        i += 1
    return values, others
