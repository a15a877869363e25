"""Commands that look at a trained model: sample, reconstruct, interpolate."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning import LightningDataModule, seed_everything
from torch import Tensor
from torchvision.utils import save_image

from skipvae.cli import text_output
from skipvae.cli.argv import values_of
from skipvae.cli.text_output import Generation, is_text
from skipvae.models import VAE, GenerativeModel
from skipvae.persistence import saved_runs
from skipvae.persistence.atomic import atomic_write, check_output
from skipvae.text.codec import check_same_vocabulary, vocabulary_of
from skipvae.text.tokens import pad_sentences

GREY = 0.5


def sample(
    ckpt_path: str,
    output: str | None = None,
    num: int | None = None,
    seed: int = 1,
    device: str = "auto",
    columns: int = 8,
    **options: Any,
) -> None:
    """Draws from a trained model: z from the prior, then x given z.

    Args:
        ckpt_path: Checkpoint file, or `best` or `last` for that of the newest run.
        output: PNG file to write (samples.png by default); text is printed, and written to a file if one is given.
        num: How many; by default 64 pictures, or 10 sentences.
        seed: The same seed gives the same draws.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        columns: Pictures in a row.
        **options: How a text model chooses its words.
    """
    generation = Generation(**options)
    _check(num=num, columns=columns)
    model = _load(ckpt_path, seed, device, GenerativeModel)
    if is_text(model):
        _check_text_output(output)
        text_output.write_samples(model, num or 10, generation, output)
        return
    generation.refuse_for_images()
    output = _picture(output, "samples.png")
    _write_images(model.sample(num or 64), output, columns)


def reconstruct(
    ckpt_path: str,
    output: str | None = None,
    num: int | None = None,
    seed: int = 1,
    device: str = "auto",
    data: LightningDataModule | None = None,
    text: str | None = None,
    **options: Any,
) -> None:
    """Decodes the posterior means of test examples: each input stands above its reconstruction.

    Args:
        ckpt_path: Checkpoint file, or `best` or `last` for that of the newest run.
        output: PNG file to write (reconstructions.png by default); text is printed, and written to a file if one is
            given.
        num: How many; by default 32 pictures, or 10 sentences.
        seed: The same seed gives the same result.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        data: Where the examples come from, as it differs from the data that the model was trained on.
        text: A sentence of your own, instead of test examples.
        **options: How a text model chooses its words.
    """
    generation = Generation(**options)
    _check(num=num)
    model = _load(ckpt_path, seed, device, VAE)
    if is_text(model):
        _check_text_output(output)
        own = [text] if text is not None else None
        x = text_output.read_sentences(model, own) if own else _test_sentences(model, ckpt_path, data, num or 10)
        text_output.write_reconstructions(model, x, generation, output)
        return
    generation.refuse_for_images()
    _refuse(text=text)
    output, num = _picture(output, "reconstructions.png"), num or 32
    x = _test_examples(ckpt_path, data, num).to(model.device)
    columns = min(16, num)
    pairs = torch.stack([_rows(x, columns), _rows(model.reconstruct(x), columns)], 1)  # (rows, 2, columns, C, H, W)
    _write_images(pairs.flatten(0, 2), output, columns)


def interpolate(
    ckpt_path: str,
    output: str | None = None,
    num: int | None = None,
    steps: int = 10,
    seed: int = 1,
    device: str = "auto",
    data: LightningDataModule | None = None,
    start: str | None = None,
    end: str | None = None,
    **options: Any,
) -> None:
    """Decodes the straight way in latent space from one test example to another, one pair in a row.

    Args:
        ckpt_path: Checkpoint file, or `best` or `last` for that of the newest run.
        output: PNG file to write (interpolations.png by default); text is printed, and written to a file if one is
            given.
        num: How many pairs; by default 8 of pictures, or 3 of sentences.
        steps: Points on the way, both ends included.
        seed: The same seed gives the same result.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        data: Where the examples come from, as it differs from the data that the model was trained on.
        start: A sentence of your own to start from; give `end` too.
        end: A sentence of your own to end with.
        **options: How a text model chooses its words.
    """
    generation = Generation(**options)
    _check(num=num, steps=steps)
    if (start is None) != (end is None):
        raise ValueError("an interpolation between your own sentences needs both --start and --end")
    model = _load(ckpt_path, seed, device, VAE)
    if is_text(model):
        _check_text_output(output)
        if start is not None and end is not None:
            x0, x1 = (text_output.read_sentences(model, [sentence]) for sentence in (start, end))
        else:
            pairs = num or 3
            x0, x1 = torch.split(_test_sentences(model, ckpt_path, data, 2 * pairs), pairs)
        text_output.write_interpolations(model, x0, x1, steps, generation, output)
        return
    generation.refuse_for_images()
    _refuse(start=start, end=end)
    output, num = _picture(output, "interpolations.png"), num or 8
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
        prog=f"skipvae {command}",
        description=str(function.__doc__).partition("\n")[0],
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_function_arguments(function, as_group=False, sub_configs=True)
    arguments: Namespace = parser.instantiate(parser.parse_args(_with_data_of_run(options)))
    texts = {name: values_of(options, f"--{name}") for name in ("text", "start", "end")}
    own = {name: values[-1] for name, values in texts.items() if values}  # `--text null` is a word, too
    function(**arguments.as_dict() | own)


def _with_data_of_run(options: list[str]) -> list[str]:
    """Puts the run's own settings of the data before those that were typed, as `predict` and `test` have them."""
    checkpoint = next(iter(values_of(options, "--ckpt_path")), None)
    if checkpoint is None or not any(option.startswith("--data") for option in options):
        return options
    folder = saved_runs.folder_of(_resolve(checkpoint))
    data = saved_runs.config_of(folder).get("data") if folder is not None else None
    return ["--data", json.dumps(data), *options] if data else options


def _load(ckpt_path: str, seed: int, device: str, kind: type[Any]) -> Any:
    seed_everything(seed, verbose=False)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"the device {device} cannot be used here: take cpu or auto") from error
    path = _resolve(ckpt_path)
    if ckpt_path != str(path):
        print(f"{ckpt_path}: {path}", file=sys.stderr)  # text models print their sentences to stdout
    saved_runs.import_classes_of(path)
    model = GenerativeModel.load_from_checkpoint(path, map_location=torch.device(device))
    if not isinstance(model, kind):
        kind_of_model = type(model).__name__
        raise ValueError(
            f"{path} holds a model without latent variables ({kind_of_model}): it can only be sampled from"
        )
    return model


def _check(**counts: int | None) -> None:
    """Refuses before the work what would fail after it."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{name} is {count}: it must be at least 1")


def _refuse(**texts: str | None) -> None:
    for name, text in texts.items():
        if text is not None:
            raise ValueError(f"{name} is a sentence, but this is not a model of text: leave it out")


def _picture(output: str | None, default: str) -> str:
    return str(check_output(output or default, ".png"))


def _check_text_output(output: str | None) -> None:
    if output is not None:
        check_output(output)


def _resolve(ckpt_path: str) -> Path:
    return saved_runs.newest_checkpoint(kind=ckpt_path) if ckpt_path in ("best", "last") else Path(ckpt_path)


def _test_examples(ckpt_path: str, data: LightningDataModule | None, num: int) -> Tensor:
    data = data if data is not None else saved_runs.data_of(_resolve(ckpt_path))
    data.prepare_data()
    data.setup("test")
    examples: list[Tensor] = []
    for batch in data.test_dataloader():
        examples.extend(batch[0])
        if len(examples) >= num:
            return torch.stack(examples[:num])
    raise ValueError(f"the test split has only {len(examples)} examples, fewer than the {num} asked for")


def _test_sentences(model: Any, ckpt_path: str, data: LightningDataModule | None, num: int) -> Tensor:
    """Sentences (num, T) from all over the test split, whose batches are sorted by length."""
    data = data if data is not None else saved_runs.data_of(_resolve(ckpt_path))
    data.prepare_data()
    data.setup("test")
    check_same_vocabulary(model.vocabulary, vocabulary_of(data), ckpt_path)
    x = pad_sentences([batch[0] for batch in data.test_dataloader()])
    if len(x) < num:
        raise ValueError(f"the test split has only {len(x)} examples, fewer than the {num} asked for")
    return x[:: len(x) // num][:num].to(model.device)


def _rows(images: Tensor, columns: int) -> Tensor:
    """(N, C, H, W) -> (rows, columns, C, H, W); the last row is filled up with the grey of the grid's lines."""
    missing = -len(images) % columns
    filled = torch.cat([images, images.new_full((missing, *images.shape[1:]), GREY)])
    return filled.view(-1, columns, *images.shape[1:])


def _write_images(images: Tensor, output: str, columns: int) -> None:
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"a picture needs 1 or 3 channels; this model's examples have shape {tuple(images.shape[1:])}")
    with atomic_write(output, "wb") as file:
        save_image(images.float().cpu(), file, "png", nrow=columns, pad_value=GREY)
    print(f"wrote {output}")
