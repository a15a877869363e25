"""The user's own inputs one by one: what can be used, and the reason of what cannot."""

import gzip
import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.inputs import MAX_LINE, Input, read_inputs
from datamodules.pictures import Format
from datamodules.table_files import parquet_tables
from datamodules.table_stream import columns_of, stream_table

FORMAT = Format(8, 8, True, "crop", 255)


def texts(*inputs: str, **settings: Any) -> list[Input]:
    return list(read_inputs("text", inputs, settings=settings))


def test_lines_of_files_and_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbffirst line\r\n\n\xff bad\nnul\0\nlast")
    packed = tmp_path / "b.gz"
    packed.write_bytes(gzip.compress(b"packed\n"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe\n")))
    found = texts(str(path), "a sentence. ", str(packed), "-")
    assert [(each.value, each.position) for each in found] == [
        *(("first line", 1), (None, 2), (None, 3), (None, 4), ("last", 5)),
        *(("a sentence. ", None), ("packed", 1), ("from a pipe", 1)),
    ]
    assert [each.reason for each in found[1:4]] == ["empty", "not UTF-8: byte 1 is 0xff", "a NUL byte"]
    assert [each.name for each in found[5:]] == ["a sentence. ", str(packed), "-"]


def test_labels_stand_before_a_tab(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("cat\tit purrs\nno label\n")
    assert [(each.label, each.value) for each in texts(str(path), labelled=True)] == [
        ("cat", "it purrs"),
        ("", "no label"),
    ]
    assert texts(str(path))[0].value == "cat\tit purrs"


def test_an_enormous_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * (3 * MAX_LINE) + b"\nshort\n")
    long, short = texts(str(path))
    assert (long.value, long.position, short.value, short.position) == (None, 1, "short", 2)
    assert "1,000,000 bytes" in long.reason


def test_what_looks_like_a_file_is_no_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file mine\.txt"):
        texts("mine.txt")
    for name in ("mine.parquet", "mine.ndjson", "My texts/mine.txt"):
        with pytest.raises(FileNotFoundError, match=f"there is no file {name}"):
            texts(name)
    assert texts("we read mine.txt")[0].value == "we read mine.txt"
    with pytest.raises(ValueError, match="is a folder"):
        texts(str(tmp_path))
    damaged = tmp_path / "a.gz"
    damaged.write_bytes(gzip.compress(b"packed\n" * 1000)[:30])
    with pytest.raises(ValueError, match="damaged"):
        texts(str(damaged))
    for settings in ({}, {"text_column": "text"}):
        assert texts("", **settings)[0].reason == "empty"
        assert texts("x" * 5000, **settings)[0].value == "x" * 5000  # too long for the name of a file


def test_pictures_of_folders_and_arrays(tmp_path: Path) -> None:
    for name in ("cat/a.png", "dog/b.jpg"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (12, 20), (250, 0, 0)).save(tmp_path / name)
    (tmp_path / "dog/c.png").write_text("no picture")
    np.savez(tmp_path / "many.npz", images=np.zeros((2, 8, 8, 3), np.uint8), labels=[5, 7])
    found = list(read_inputs("image", [str(tmp_path), str(tmp_path / "many.npz")], FORMAT))
    assert [Path(each.name).name for each in found] == ["a.png", "b.jpg", "c.png", "many.npz", "many.npz"]
    assert [each.label for each in found] == ["cat", "dog", "dog", "5", "7"]
    assert [each.value is None for each in found] == [False, False, True, False, False]
    assert found[0].value.shape == (3, 8, 8)
    assert "cannot identify" in found[2].reason
    with pytest.raises(FileNotFoundError):
        list(read_inputs("image", ["nowhere"], FORMAT))
    for name, arrays, message in (
        ("few.npz", {"images": np.zeros((2, 8, 8)), "labels": [1]}, "labels of shape (1,): give one label each"),
        ("one.npz", {"images": np.zeros((8, 8))}, "of shape (8, 8): give images"),
        ("none.npz", {"images": np.array(3.0)}, "of shape (): give images"),
    ):
        np.savez(tmp_path / name, **arrays)
        with pytest.raises(ValueError, match=re.escape(message)):
            list(read_inputs("image", [str(tmp_path / name)], FORMAT))
    torch.save(torch.ones(2, 3, 8, 8, dtype=torch.bfloat16, requires_grad=True), tmp_path / "a.pt")
    assert [each.value.shape for each in read_inputs("image", [str(tmp_path / "a.pt")], FORMAT)] == [(3, 8, 8)] * 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no pictures"):
        list(read_inputs("image", [str(tmp_path / "empty")], FORMAT))


def test_rows_of_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('kind;b;a\nx;1,5;"2"\n\ny;NA;3\nz;word;3\nw;4\nv;inf;1\nu;-1;1e3\n')
    options: dict[str, Any] = {"columns": ["a", "b"], "label": "kind", "decimal": ","}
    found = list(read_inputs("table", [str(path)], settings=options))
    assert [each.position for each in found] == [2, 4, 5, 6, 7, 8]
    assert [each.label for each in found] == ["x", "y", "z", "", "v", "u"]
    assert found[0].value.tolist() == [2.0, 1.5]
    assert found[5].value.tolist() == [1000.0, -1.0]
    assert [each.reason for each in found[1:5]] == [
        "'b' is missing",
        "'b' is 'word', which is no number",
        "2 values where line 1 has 3",
        "'b' is inf",
    ]
    assert columns_of(str(path)) == ["kind", "b", "a"]
    with pytest.raises(ValueError, match="no column 'aa': did you mean 'a'"):
        list(stream_table(str(path), ["aa"]))


def test_parquet_and_csv_say_the_same(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"a": [1.0, None, 3.0], "b": [1, 2, 3], "kind": ["x", "y", None]}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    rows = list(stream_table(str(tmp_path / "a.parquet"), ["b", "a"], label="kind"))
    assert [(row, label) for row, _, label in rows] == [(0, "x"), (1, "y"), (2, "")]
    assert rows[1][1] == "'a' is missing"
    assert np.array_equal(np.asarray(rows[2][1], dtype=float), [3.0, 3.0])
    assert columns_of(str(tmp_path / "a.parquet")) == ["a", "b", "kind"]
    read = next(parquet_tables(tmp_path / "a.parquet", 2, ["kind", "b", None]))
    assert (sorted(read.cells), len(read.cells["b"])) == (["b", "kind"], 2)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"a,b\n\xff\xfe,1\n", "or not UTF-8"), (b"\x1f\x8b123", "damaged")]
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(stream_table(str(path), ["a"]))
