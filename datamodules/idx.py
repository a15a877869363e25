"""IDX, the file format of MNIST and its relatives."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor


def read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Read an IDX file of unsigned bytes, gzipped or not, in memory.

    The header is compared with the expected shape before anything else is read, and no more bytes are read than the
    shape needs.

    Returns:
        uint8 tensor of that shape.

    Raises:
        ValueError: If the file is not an IDX file of this shape, is truncated, or has further bytes after its data.
    """
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)  # 8: unsigned bytes
    size = math.prod(shape)
    dimensions = " x ".join(map(str, shape))
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            found = file.read(len(header))
            if found != header:
                raise ValueError(
                    f"{path} does not start with the header of an IDX file of {dimensions} bytes: delete or replace it"
                )
            data = bytearray(file.read(size + 1))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}): delete or replace it") from error
    if len(data) != size:
        state = "is truncated" if len(data) < size else "has further bytes after its data"
        raise ValueError(f"{path} {state}, an IDX file of {dimensions} bytes: delete or replace it")
    return torch.frombuffer(data, dtype=torch.uint8).view(shape)
