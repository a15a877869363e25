"""Writes the networks of a model, compares each file with the model, and describes all of them in `export.json`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skipvae import __version__
from skipvae.export.formats import FORMATS, quiet, traced
from skipvae.export.parts import Part, Value, notes_of, parts_of
from skipvae.models import GenerativeModel
from skipvae.nn.choices import check_choice
from skipvae.nn.evaluation_mode import evaluation_mode
from skipvae.persistence.atomic import atomic_folder, atomic_write

DESCRIPTION = "export.json"
TRACED = {"batch": 3, "length": 5}
"""Sizes of the free dimensions that a network is followed with."""
COMPARED = ({"batch": 1, "length": 2}, {"batch": 4, "length": 9})
"""Those that its file is compared with the model by: others, so that a size which did not stay free is noticed."""


def export_model(
    model: GenerativeModel,
    folder: str | Path,
    format: str = "onnx",
    tolerance: float = 1e-4,
    source: str | None = None,
) -> dict[str, Any]:
    """Writes encoder and decoder of a model to files that run without skipvae, and compares them with the model.

    Beside them go its codecs, such as `vocabulary.json`, and `export.json`: the inputs and outputs of each file with
    shape, dtype and meaning. Files of other names in the folder stay.

    Args:
        model: on the CPU.
        folder: for the files.
        format: "onnx", or "torch_export" (files .pt2, read by `torch.export.load`).
        tolerance: the largest difference |a - b| / (1 + |b|) of a file's output a from the model's b that is allowed,
            on random inputs.
        source: where the model came from, for the description.

    Returns:
        The content of `export.json`.

    Raises:
        ModuleNotFoundError: if the format needs a package that is not installed.
        ValueError: if a network cannot be exported, or its file differs from the model; nothing is written then.

    Example:
        >>> import tempfile
        >>> from skipvae import VAE
        >>> from skipvae.decoders import MLPDecoder
        >>> from skipvae.encoders import MLPEncoder
        >>> model = VAE(MLPEncoder(2, (5,), hidden_dim=8), MLPDecoder(2, (5,), hidden_dim=8))
        >>> list(export_model(model, tempfile.mkdtemp(), "torch_export")["files"])
        ['encoder.pt2', 'decoder.pt2']
    """
    kind = FORMATS[check_choice("format", format, FORMATS)]
    kind.check()
    if not tolerance > 0:
        raise ValueError(f"tolerance is {tolerance}: give a number above 0")
    if any(weight.device.type != "cpu" for weight in model.parameters()):
        raise ValueError("the model is not on the CPU: move it there with model.cpu()")
    files = dict[str, Any]()
    with atomic_folder(folder) as partial, evaluation_mode(model), torch.no_grad(), quiet(), _own_noise():
        for part in parts_of(model):
            path = partial / f"{part.name}{kind.suffix}"
            program = traced(part, _inputs(part, TRACED))
            kind.write(part, program, path)
            inputs = [_inputs(part, sizes) for sizes in COMPARED]
            wanted = [list(part.network(*values)) for values in inputs]
            difference = _largest_difference(kind.run(part, path, inputs), wanted)
            if not difference <= tolerance:
                raise ValueError(
                    f"{path.name} differs from the model by {difference:.1e}, more than the tolerance of "
                    f"{tolerance:g}: nothing was written; allow more, or take another format"
                )
            outputs = _described(part.outputs, wanted[0])
            files[path.name] = {
                "inputs": _described(part.inputs, inputs[0]),
                "outputs": outputs,
                "largest_difference": difference,
            }
        for name, text in model.codecs.items():
            with atomic_write(partial / f"{name}.json") as file:
                file.write(text)
        record = {
            "format": format,
            "files": files,
            "codecs": [f"{name}.json" for name in model.codecs],
            "notes": notes_of(model),
            "comparison": {"measure": "|a - b| / (1 + |b|), a of the file, b of the model", "tolerance": tolerance},
            "source": source,
            "model": model.spec,
            **_scale(model.decoder),
            "versions": {"skipvae": __version__, "torch": torch.__version__},
        }
        with atomic_write(partial / DESCRIPTION) as file:
            file.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return record


def _inputs(part: Part, sizes: dict[str, int]) -> list[Tensor]:
    dtype = next((weight.dtype for weight in part.network.parameters()), torch.float32)
    examples = (value.example(**sizes) for value in part.inputs)
    return [example.to(dtype) if example.is_floating_point() else example for example in examples]


@contextmanager
def _own_noise() -> Iterator[None]:
    """A context with the same random numbers at each call, which the caller's do not notice."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _largest_difference(found: Sequence[Sequence[Tensor]], wanted: Sequence[Sequence[Tensor]]) -> float:
    """max |a - b| / (1 + |b|) over all outputs; NaN where there is one."""
    pairs = [pair for row in zip(found, wanted, strict=True) for pair in zip(*row, strict=True)]
    if any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return max(float(((a - b).abs() / (1 + b.abs())).max()) for a, b in pairs)


def _described(values: Sequence[Value], examples: Sequence[Tensor]) -> list[dict[str, Any]]:
    return [
        {
            "name": value.name,
            "shape": list(value.shape),
            "dtype": str(example.dtype).removeprefix("torch."),
            "meaning": value.meaning,
        }
        for value, example in zip(values, examples, strict=True)
    ]


def _scale(decoder: Any) -> dict[str, Any]:
    """The standard deviation of a Gaussian p(x|z), of all values or of each channel, which its parameters leave out."""
    owner = next((part for part in (decoder, getattr(decoder, "likelihood", None)) if hasattr(part, "log_scale")), None)
    return {} if owner is None else {"scale": owner.log_scale.exp().tolist()}
