"""Commands that look at a trained model: sample, reconstruct, interpolate."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning import LightningDataModule, seed_everything
from torch import Tensor
from torchvision.utils import save_image

from skipvae import runs
from skipvae.models import VAE, GenerativeModel

GREY = 0.5


def sample(
    ckpt_path: str, output: str = "samples.png", num: int = 64, seed: int = 1, device: str = "auto", columns: int = 8
) -> None:
    """Draws from a trained model: z from the prior, then x given z.

    Args:
        ckpt_path: Checkpoint file, or `best` or `last` for that of the newest run.
        output: PNG file to write.
        num: How many.
        seed: The same seed gives the same draws.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        columns: Pictures in a row.
    """
    _check(output, num=num, columns=columns)
    model = _load(ckpt_path, seed, device, GenerativeModel)
    _write_images(model.sample(num), output, columns)


def reconstruct(
    ckpt_path: str,
    output: str = "reconstructions.png",
    num: int = 32,
    seed: int = 1,
    device: str = "auto",
    data: LightningDataModule | None = None,
) -> None:
    """Decodes the posterior means of test examples: each input stands above its reconstruction.

    Args:
        ckpt_path: Checkpoint file, or `best` or `last` for that of the newest run.
        output: PNG file to write.
        num: How many.
        seed: The same seed gives the same result.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        data: Where the examples come from; by default the data that the model was trained on.
    """
    _check(output, num=num)
    model = _load(ckpt_path, seed, device, VAE)
    x = _test_examples(ckpt_path, data, num).to(model.device)
    columns = min(16, num)
    pairs = torch.stack([_rows(x, columns), _rows(model.reconstruct(x), columns)], 1)  # (rows, 2, columns, C, H, W)
    _write_images(pairs.flatten(0, 2), output, columns)


def interpolate(
    ckpt_path: str,
    output: str = "interpolations.png",
    num: int = 8,
    steps: int = 10,
    seed: int = 1,
    device: str = "auto",
    data: LightningDataModule | None = None,
) -> None:
    """Decodes the straight way in latent space from one test example to another, one pair in a row.

    Args:
        ckpt_path: Checkpoint file, or `best` or `last` for that of the newest run.
        output: PNG file to write.
        num: How many pairs.
        steps: Points on the way, both ends included.
        seed: The same seed gives the same result.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        data: Where the examples come from; by default the data that the model was trained on.
    """
    _check(output, num=num, steps=steps)
    model = _load(ckpt_path, seed, device, VAE)
    x = _test_examples(ckpt_path, data, 2 * num).to(model.device)
    path = model.interpolate(x[:num], x[num:], steps)
    _write_images(path.flatten(0, 1), output, steps)


COMMANDS: dict[str, Callable[..., None]] = {
    "sample": sample,
    "reconstruct": reconstruct,
    "interpolate": interpolate,
}


def run(args: list[str]) -> None:
    """Parses and runs one of the commands."""
    command, *options = args
    function = COMMANDS[command]
    parser = ArgumentParser(
        prog=f"skipvae {command}", description=str(function.__doc__).partition("\n")[0], exit_on_error=False
    )
    parser.add_function_arguments(function, as_group=False, sub_configs=True)
    arguments: Namespace = parser.instantiate(parser.parse_args(options))
    function(**arguments.as_dict())


def _load(ckpt_path: str, seed: int, device: str, kind: type[Any]) -> Any:
    seed_everything(seed, verbose=False)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"the device {device} cannot be used here: take cpu or auto") from error
    return kind.load_from_checkpoint(_resolve(ckpt_path), map_location=torch.device(device))


def _check(output: str, **counts: int) -> None:
    """Refuses before the work what would fail after it."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}: it must be at least 1")
    if Path(output).suffix.lower() != ".png" or Path(output).is_dir():
        raise ValueError(f"{output} is no name for a picture: give --output a file that ends in .png")


def _resolve(ckpt_path: str) -> Path:
    return runs.newest_checkpoint(kind=ckpt_path) if ckpt_path in ("best", "last") else Path(ckpt_path)


def _test_examples(ckpt_path: str, data: LightningDataModule | None, num: int) -> Tensor:
    data = data if data is not None else runs.data_of(_resolve(ckpt_path))
    data.prepare_data()
    data.setup("test")
    examples: list[Tensor] = []
    for batch in data.test_dataloader():
        examples.extend(batch[0])
        if len(examples) >= num:
            return torch.stack(examples[:num])
    raise ValueError(f"the test split has only {len(examples)} examples, fewer than the {num} asked for")


def _rows(images: Tensor, columns: int) -> Tensor:
    """(N, C, H, W) -> (rows, columns, C, H, W); the last row is filled up with the grey of the grid's lines."""
    missing = -len(images) % columns
    filled = torch.cat([images, images.new_full((missing, *images.shape[1:]), GREY)])
    return filled.view(-1, columns, *images.shape[1:])


def _write_images(images: Tensor, output: str, columns: int) -> None:
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"a picture needs 1 or 3 channels; this model's examples have shape {tuple(images.shape[1:])}")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    save_image(images.float().cpu(), output, nrow=columns, pad_value=GREY)
    print(f"wrote {output}")
