"""The formats of exported networks: how each is written, and run again to be compared with the model."""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from skipvae.compatibility import lstm_lengths_stay_free
from skipvae.errors import require
from skipvae.export.parts import Part

PROTOBUF_LIMIT = 2**30
"""Bytes of weights above which they lie in a file of their own beside the ONNX file, which can have 2 GB."""


class Format(ABC):
    """A kind of file.

    Attributes:
        suffix: of its files.
        needs: packages that it needs beside torch.
    """

    suffix: str
    needs: Sequence[str] = ()

    def check(self) -> None:
        """Raises a ModuleNotFoundError that names the extra if a package is not installed."""
        require("this format", "export", self.needs)

    @abstractmethod
    def write(self, part: Part, program: ExportedProgram, path: Path) -> None:
        """Writes the program of a part."""

    @abstractmethod
    def run(self, part: Part, path: Path, inputs: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """The outputs of a file, read anew, for several lists of inputs."""


class TorchExport(Format):
    """`torch.export.load(path).module()` runs it, without skipvae."""

    suffix = ".pt2"

    def write(self, part: Part, program: ExportedProgram, path: Path) -> None:
        """See `Format.write`."""
        torch.export.save(program, path)

    def run(self, part: Part, path: Path, inputs: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """See `Format.run`."""
        network = torch.export.load(path).module()
        return [list(network(*values)) for values in inputs]


class Onnx(Format):
    """onnxruntime and many other programs run it, without Python."""

    suffix = ".onnx"
    needs = ("onnx", "onnxscript", "onnxruntime")

    def write(self, part: Part, program: ExportedProgram, path: Path) -> None:
        """See `Format.write`."""
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=[value.name for value in part.inputs],
            output_names=[value.name for value in part.outputs],
        )
        assert onnx is not None
        size = sum(weight.nbytes for weight in program.state_dict.values())
        onnx.save(path, external_data=size > PROTOBUF_LIMIT)

    def run(self, part: Part, path: Path, inputs: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """See `Format.run`."""
        from onnxruntime import InferenceSession

        session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [value.name for value in part.inputs]
        found = (
            session.run(None, {name: value.numpy() for name, value in zip(names, values, strict=True)})
            for values in inputs
        )
        return [[torch.from_numpy(array) for array in arrays] for arrays in found]


FORMATS: dict[str, Format] = {"onnx": Onnx(), "torch_export": TorchExport()}
"""By the name on the command line."""


def traced(part: Part, example: Sequence[Tensor]) -> ExportedProgram:
    """The program of a part, with its free dimensions.

    Raises:
        ValueError: if torch.export cannot follow the network.
    """
    free = {name: Dim(name) for value in part.inputs for name in value.free.values()}
    shapes = tuple({index: free[name] for index, name in value.free.items()} for value in part.inputs)
    try:
        with lstm_lengths_stay_free():
            return torch.export.export(part.network, tuple(example), dynamic_shapes=(shapes,))
    except Exception as error:  # any kind, depending on what the network does
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"{type(part.network.module).__name__} cannot be exported: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """A context without the progress messages of the exporters."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
