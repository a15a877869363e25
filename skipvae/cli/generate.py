"""The commands that generate from a trained model: sample, reconstruct, interpolate."""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from jsonargparse import ArgumentParser
from pytorch_lightning import LightningDataModule, seed_everything
from torch import Tensor
from torchvision.utils import save_image

from skipvae.callbacks.tiles import GREY, tiles
from skipvae.cli import table_output, text_output
from skipvae.cli.argv import values_of
from skipvae.cli.generate_options import COMMANDS, Interpolate, Options, Reconstruct, Sample, add_options
from skipvae.models import VAE, GenerativeModel
from skipvae.models.test_split import first_test_examples
from skipvae.persistence import saved_runs
from skipvae.persistence.atomic import atomic_write, check_output
from skipvae.training.codecs import check_same_codecs, codecs_of


def sample(options: Sample) -> None:
    """Draws from a trained model: z from the prior, then x given z."""
    model = _load(options, GenerativeModel)
    if model.decoder.modality == "text":
        _refuse_for(model, options, "mean", "columns")
        text_output.write_samples(model, options.num or 10, options, options.output)
        return
    output = _output_file(model, options, "samples")
    if model.decoder.modality == "table":
        _refuse_for(model, options, "columns")
        table_output.write_rows(model, model.sample(options.num or 1000, options.mean), output)
        return
    _write_images(model.sample(options.num or 64, options.mean), output, options.columns or 8)


def reconstruct(options: Reconstruct) -> None:
    """Decodes the posterior means of test examples: each input stands above its reconstruction."""
    model = _load(options, VAE)
    if model.decoder.modality == "text":
        if options.text is not None:
            x = text_output.read_sentences(model, [options.text])
        else:
            x = _test_examples(model, options, 10)
        text_output.write_reconstructions(model, x, options, options.output)
        return
    output = _output_file(model, options, "reconstructions", "text")
    x = _test_examples(model, options, 32)
    if model.decoder.modality == "table":
        table_output.write_reconstructions(model, x, output)
        return
    columns = min(16, len(x))
    pairs = torch.stack([_rows(x, columns), _rows(model.reconstruct(x), columns)], 1)  # (rows, 2, columns, C, H, W)
    _write_images(pairs.flatten(0, 2), output, columns)


def interpolate(options: Interpolate) -> None:
    """Decodes the straight line in latent space from one test example to another, one pair in a row."""
    model = _load(options, VAE)
    if model.decoder.modality == "text":
        if options.start is not None and options.end is not None:
            x0, x1 = (text_output.read_sentences(model, [sentence]) for sentence in (options.start, options.end))
        else:
            x0, x1 = _test_examples(model, options, 3, each=2).chunk(2)
        text_output.write_interpolations(model, x0, x1, options.steps, options, options.output)
        return
    output = _output_file(model, options, "interpolations", "start", "end")
    x0, x1 = _test_examples(model, options, 8, each=2).chunk(2)
    if model.decoder.modality == "table":
        table_output.write_interpolations(model, x0, x1, options.steps, output)
        return
    path = model.interpolate(x0, x1, options.steps)
    _write_images(path.flatten(0, 1), output, options.steps)


FUNCTIONS: dict[str, Callable[[Any], None]] = {
    "sample": sample,
    "reconstruct": reconstruct,
    "interpolate": interpolate,
}


def run(args: list[str]) -> None:
    """Parses and runs one of the commands."""
    command, *typed = args
    parser = ArgumentParser(prog=f"skipvae {command}", exit_on_error=False, allow_abbrev=False)
    add_options(parser, command, LightningDataModule | None)
    arguments = parser.instantiate(parser.parse_args(_with_data_of_run(typed)))
    texts = {name: values_of(typed, f"--{name}") for name in ("text", "start", "end")}
    own = {name: values[-1] for name, values in texts.items() if values}  # `--text null` is a word, too
    FUNCTIONS[command](COMMANDS[command](**arguments.as_dict() | own))


def _with_data_of_run(typed: list[str]) -> list[str]:
    """Puts the run's own settings of the data before those that were typed, as `predict` and `test` have them."""
    checkpoint = next(iter(values_of(typed, "--ckpt_path")), None)
    if checkpoint is None or not any(option.startswith("--data") for option in typed):
        return typed
    folder = saved_runs.folder_of(saved_runs.checkpoint_at(checkpoint))
    data = saved_runs.config_of(folder).get("data") if folder is not None else None
    return ["--data", json.dumps(data), *typed] if data else typed


def _load(options: Options, kind: type[Any]) -> Any:
    seed_everything(options.seed, verbose=False)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"the device {device} cannot be used here: take cpu or auto") from error
    path = saved_runs.checkpoint_at(options.ckpt_path)
    if options.ckpt_path != str(path):
        print(f"{options.ckpt_path}: {path}", file=sys.stderr)  # text models print their sentences to stdout
    saved_runs.import_classes_of(path)
    model = GenerativeModel.load_from_checkpoint(path, map_location=torch.device(device))
    if not isinstance(model, kind):
        kind_of_model = type(model).__name__
        raise ValueError(
            f"{path} holds a model without latent variables ({kind_of_model}): it can only be sampled from"
        )
    if model.decoder.modality == "text" and options.output is not None:
        check_output(options.output)
    return model


def _output_file(model: Any, options: Options, default: str, *sentences: str) -> str:
    """The file to write, CSV for tables, else PNG; refuses options for text, among them those named `sentences`."""
    options.refuse_for_images()
    for name in sentences:
        if getattr(options, name) is not None:
            raise ValueError(f"{name} is a sentence, but this is not a model of text: leave it out")
    ending = ".csv" if model.decoder.modality == "table" else ".png"
    return str(check_output(options.output or default + ending, ending))


def _refuse_for(model: Any, options: Options, *names: str) -> None:
    """Raises a ValueError if an option was given that is for images alone, or of no use for this kind of data."""
    kind = {"text": "text", "table": "tables"}[model.decoder.modality]
    for name in names:
        if getattr(options, name):
            raise ValueError(f"{name} is an option for images, but this is a model of {kind}: leave it out")


def _test_examples(model: Any, options: Any, default: int, each: int = 1) -> Tensor:
    """Test examples (num x each, ...), num by default if there are as many.

    They are the first ones, or sentences from all over the split, which is sorted by length.
    """
    num = each * (options.num or default)
    path = saved_runs.checkpoint_at(options.ckpt_path)
    data = options.data if options.data is not None else saved_runs.data_of(path)
    text = model.decoder.modality == "text"
    x = first_test_examples(data, None if text else num).x
    check_same_codecs(model.codecs, codecs_of(data), path)
    if options.num is None:
        num = min(num, len(x) // each * each)
    if len(x) < max(num, each):
        raise ValueError(f"the test split has only {len(x)} examples, fewer than the {max(num, each)} asked for")
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
        save_image(tiles(images, columns), file, "png")
    print(f"wrote {output}")
