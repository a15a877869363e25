"""The commands that use a trained model: decode, sample, reconstruct, interpolate."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torchvision.utils import save_image

from skipvae.callbacks.tiles import GREY, tiles
from skipvae.cli import table_output, text_output
from skipvae.cli.argv import values_of
from skipvae.cli.code_files import read_codes
from skipvae.cli.encode import encode
from skipvae.cli.explore import explore
from skipvae.cli.export import export
from skipvae.cli.generate_options import COMMANDS, Decode, Generation, Interpolate, Reconstruct, Sample, add_options
from skipvae.cli.message_filter import filter_messages
from skipvae.cli.trained_model import data_of, load_model, read_all
from skipvae.models import VAE, GenerativeModel
from skipvae.models.class_codes import class_codes
from skipvae.models.test_split import first_test_examples
from skipvae.persistence import saved_runs
from skipvae.persistence.atomic import atomic_write, check_output
from skipvae.training.codecs import check_same_codecs, codecs_of


def decode(options: Decode) -> None:
    """Decodes latent vectors from a file."""
    if len(options.codes) != 1:
        raise ValueError(f"decode reads one file of codes, but {len(options.codes)} were given")
    model: VAE = load_model(options, VAE)
    parts = read_codes(options.codes[0], model.latent_dim)
    if model.decoder.modality == "text":
        _refuse_for(model, options, "columns")
        text_output.write_decoded(_sentences_of(model, parts, options), options.output)
        return
    arrays = str(options.output).lower().endswith(".npy")
    output = str(options.output) if arrays else _output_file(model, options, "decoded")
    decoded = map(model.decode, _known(parts, options.codes[0]))
    if model.decoder.modality == "table":
        _refuse_for(model, options, "columns")
        table_output.write_decoded(model, decoded, output)
        return
    images = np.concatenate(list(decoded))
    if not arrays:
        _write_images(torch.from_numpy(images), output, options.columns or 8)
        return
    with atomic_write(output, "wb") as file:
        np.save(file, images)
    print(f"wrote {output}")


def sample(options: Sample) -> None:
    """Draws from a trained model: z from the prior, then x given z; or from the codes of a class."""
    model = load_model(options, GenerativeModel if options.label is None else VAE)
    kind = model.decoder.modality
    num = options.num or {"text": 10, "table": 1000}.get(kind, 64)
    z = None if options.label is None else class_codes(model, options.label, data_of(options)).sample(num)
    if kind == "text":
        _refuse_for(model, options, "mean", "columns")
        x = model.sample(num, **options.sampling) if z is None else model.decoder.sample(z, **options.sampling)
        text_output.write_samples(model, x, options.output)
        return
    output = _output_file(model, options, "samples")
    if z is None:
        x = model.sample(num, options.mean)
    else:
        x = model.decoder.mean(z) if options.mean else model.decoder.sample(z)
    if kind == "table":
        _refuse_for(model, options, "columns")
        table_output.write_rows(model, x, output)
        return
    _write_images(x, output, options.columns or 8)


def reconstruct(options: Reconstruct) -> None:
    """Decodes the posterior means of inputs: each stands above its reconstruction."""
    model = load_model(options, VAE)
    own = [*options.inputs, *([options.text] if options.text is not None else [])]
    for name in ("num", "data") if own else ():
        if getattr(options, name) is not None:
            raise ValueError(
                f"{name} is for test examples, and {own[0]!r} is an input of your own: leave one of them out"
            )
    text = model.decoder.modality == "text"
    output = "" if text else _output_file(model, options, "reconstructions", "text")
    x = read_all(model, own, options.ckpt_path) if own else _test_examples(model, options, 10 if text else 32)
    if text:
        text_output.write_reconstructions(model, x, options, options.output)
        return
    if model.decoder.modality == "table":
        table_output.write_reconstructions(model, x, output)
        return
    columns = min(16, len(x))
    pairs = torch.stack([_rows(x, columns), _rows(model.reconstruct(x), columns)], 1)  # (rows, 2, columns, C, H, W)
    _write_images(pairs.flatten(0, 2), output, columns)


def interpolate(options: Interpolate) -> None:
    """Decodes the straight line in latent space from one input to another, one pair in a row."""
    model = load_model(options, VAE)
    text = model.decoder.modality == "text"
    output = "" if text else _output_file(model, options, "interpolations")
    if options.start is not None and options.end is not None:
        x0, x1 = (read_all(model, [each], options.ckpt_path, whole=True) for each in (options.start, options.end))
        if len(x0) != len(x1):
            raise ValueError(f"start gives {len(x0)} inputs and end {len(x1)}: they are paired, so make them equal")
    else:
        x0, x1 = _test_examples(model, options, 3 if text else 8, each=2).chunk(2)
    if text:
        text_output.write_interpolations(model, x0, x1, options.steps, options, options.output)
        return
    if model.decoder.modality == "table":
        table_output.write_interpolations(model, x0, x1, options.steps, output)
        return
    path = model.interpolate(x0, x1, options.steps)
    _write_images(path.flatten(0, 1), output, options.steps)


FUNCTIONS: dict[str, Callable[[Any], None]] = {
    "encode": encode,
    "decode": decode,
    "sample": sample,
    "reconstruct": reconstruct,
    "interpolate": interpolate,
    "export": export,
    "explore": explore,
}


def run(args: list[str]) -> None:
    """Parses and runs one of the commands."""
    filter_messages()
    command, *typed = args
    parser = ArgumentParser(prog=f"skipvae {command}", exit_on_error=False, allow_abbrev=False)
    add_options(parser, command, LightningDataModule | None)
    arguments = parser.instantiate(parser.parse_args(_with_data_of_run(typed)))
    texts = {name: values_of(typed, f"--{name}") for name in ("text", "start", "end", "label")}
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


def _known(parts: Iterable[NDArray[np.float64]], path: str) -> Iterator[NDArray[np.float64]]:
    """The rows that have codes; says how many have none, and raises a ValueError if there are no others."""
    num_rows = num_known = 0
    for part in parts:
        known = part[np.isfinite(part).all(1)]
        num_rows, num_known = num_rows + len(part), num_known + len(known)
        if len(known):
            yield known
    if not num_known:
        raise ValueError(f"{path} has no codes to decode, in {num_rows:,} rows")
    if num_known < num_rows:
        print(f"left out: {num_rows - num_known:,} of {num_rows:,} rows, which have no code", file=sys.stderr)


def _sentences_of(model: VAE, parts: Iterable[NDArray[np.float64]], options: Generation) -> Iterator[str]:
    """A sentence for each row, empty where a row has no code."""
    for part in parts:
        known = np.array(np.isfinite(part).all(1))
        sentences = iter(model.decode(part[known], **options.sampling))
        yield from (next(sentences) if there else "" for there in known.tolist())


def _output_file(model: Any, options: Generation, default: str, *sentences: str) -> str:
    """The file to write, CSV for tables, else PNG; refuses options for text, among them those named `sentences`."""
    options.refuse_for_images()
    for name in sentences:
        if getattr(options, name) is not None:
            raise ValueError(f"{name} is a sentence, but this is not a model of text: leave it out")
    ending = ".csv" if model.decoder.modality == "table" else ".png"
    return str(check_output(options.output or default + ending, ending))


def _refuse_for(model: Any, options: Generation, *names: str) -> None:
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
    data = data_of(options)
    text = model.decoder.modality == "text"
    x = first_test_examples(data, None if text else num).x
    check_same_codecs(model.codecs, codecs_of(data), saved_runs.checkpoint_at(options.ckpt_path))
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
