import gzip
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.idx import read_idx


def idx_bytes(array: torch.Tensor) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + bytes(array.numpy())


ARRAY = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(24,), (2, 3, 4), (1, 1, 24)])
def test_reads_what_was_written(tmp_path: Path, packed: bool, shape: Any) -> None:
    array = ARRAY.view(shape)
    path = tmp_path / ("file.gz" if packed else "file")
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    assert read_idx(path, shape).equal(array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not start with the header"),
        (b"\0\0", "does not start with the header"),
        (b"P5 4 3 255\n" + bytes(24), "does not start with the header"),
        (b"\0\0\x0d\x03" + idx_bytes(ARRAY)[4:], "does not start with the header"),  # floats
        (idx_bytes(ARRAY.view(2, 4, 3)), "does not start with the header"),
        (
            struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
            "does not start with the header",
        ),  # 2^96 bytes
        (idx_bytes(ARRAY)[:-1], "is truncated"),
        (idx_bytes(ARRAY) + b"\0", "has further bytes after its data"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: Any, message: str, packed: bool) -> None:
    path = tmp_path / ("file.gz" if packed else "file")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(path, (2, 3, 4))
    assert str(path) in str(error.value)
    assert "2 x 3 x 4" in str(error.value)
    assert "\n" not in str(error.value)


@settings(deadline=None)
@given(data=st.data())
def test_a_damaged_gz_file_is_never_read_as_something_else(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.mktemp("idx") / "file.gz"
    content = bytearray(gzip.compress(idx_bytes(ARRAY), mtime=0))
    if data.draw(st.booleans(), "cut"):
        del content[data.draw(st.integers(0, len(content) - 1), "at") :]
    else:
        content[data.draw(st.integers(0, len(content) - 1), "at")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(content)
    found = ARRAY  # bits that hold no data, such as the time in the header, may change
    with suppress(ValueError):
        found = read_idx(path, (2, 3, 4))
    assert found.equal(ARRAY)


def test_no_more_is_unpacked_than_the_shape_needs(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(idx_bytes(ARRAY))
        for _ in range(64):
            file.write(bytes(1 << 20))
    with pytest.raises(ValueError, match="has further bytes after its data"):
        read_idx(path, (2, 3, 4))
