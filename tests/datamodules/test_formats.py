"""Files that are no prose are recognised, and what is advised works."""

import codecs
import csv
import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from datamodules.lines import TextFile
from datamodules.text_tables import TextTable

SENTENCES = [f'the cat, number {n}, said "no" to {n % 7} dogs' for n in range(40)]


def read_corpus(path: Path, labelled: bool = False) -> list[str]:
    """The texts of a file."""
    return [text for block in TextFile(path, labelled=labelled).blocks() for text in block.texts]


def table(delimiter: str = ",", header: Any = ("id", "text", "stars"), **options: Any) -> bytes:
    file = io.StringIO()
    rows = [header] if header else []
    csv.writer(file, delimiter=delimiter, **options).writerows(
        [*rows, *((n, s, n % 5) for n, s in enumerate(SENTENCES))]
    )
    return file.getvalue().encode()


def records(make: Any) -> bytes:
    return "\n".join(json.dumps(make(n, s)) for n, s in enumerate(SENTENCES)).encode()


def archive(kind: Any) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr(zipfile.ZipInfo("mine.txt"), "\n".join(SENTENCES))  # at the same time on every worker
    else:
        with tarfile.open(fileobj=file, mode="w") as packed:
            packed.addfile(tarfile.TarInfo("mine.txt"), io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table(), r"CSV\): set data.text_column to that of the text, such as text$"),
        (table(";"), r"CSV\): set data.text_column to that of the text, such as text$"),
        (table(header=None, quoting=csv.QUOTE_ALL), r"CSV\): put a line with the names of its columns above it"),
        (table(header=None), r"CSV\): put a line with the names of its columns above it"),
        (records(lambda n, s: {"id": n, "text": s}), r"JSON, an object a line: .* such as text$"),
        (records(lambda n, s: [n, s]), "JSON, a list a line: write an object a line"),
    ],
    ids=["csv", "semicolons", "quoted", "numbered", "json lines", "json lists"],
)
def test_tables_and_records_are_refused_and_the_column_is_named(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_corpus(path)
    if message.endswith("such as text$"):
        texts = [text for block in TextTable(path, "text").blocks() for text in block.texts]
        assert texts == SENTENCES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text\nhello there\n", "named as a table"),
        ("a.txt", json.dumps(SENTENCES, indent=1), "JSON: take the texts out"),
        ("a.txt", "<!DOCTYPE html>\n<p>hello</p>\n", "HTML or XML"),
        ("a.txt", "<corpus>\n<doc>hello</doc>\n</corpus>\n", "HTML or XML"),
        ("a.txt", "0\thello there\n1\tgood day\n" * 9, "set data.labelled to true"),
        ("a.tsv", "yes\tgood day to all\t0\nno\ta b c d e\t1\n" * 9, "3 columns: .* cut -f 2"),
        ("a.txt", b"PAR1\x15\x04" + bytes(range(256)), "a parquet file"),
        ("a.txt", archive("zip"), "a zip archive"),
        ("a.txt.gz", gzip.compress(archive("tar"), mtime=0), "a tar archive"),
        ("a.txt", bytes(range(256)) * 9, "is a binary file"),
        ("a.txt", "good day\n".encode("utf-16-le") * 9, "iconv -f utf-16le"),
        ("a.txt", codecs.BOM_UTF32_LE + "good\n".encode("utf-32-le"), "iconv -f utf-32"),
        ("a.txt", "très bon\n".encode("latin1"), "iconv -f latin1"),
        ("a.txt", "le “très” bon\n".encode("cp1252"), "iconv -f cp1252"),
        ("a.txt", "今天天气很好\n".encode("gb18030"), "gb18030 for Chinese"),
        ("a.txt", "good day\n" * 99 + "bad\0 day\n", "line 100 holds a NUL byte"),
    ],
)
def test_other_formats_and_encodings_are_named(tmp_path: Path, name: str, content: Any, message: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as error:
        read_corpus(tmp_path / name)
    assert ("latin1" in str(error.value)) == ("latin1" in message)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([f"{n}\tgood day, number {n}" for n in range(30)], "a different label in each of its 30 lines, such as '0'"),
        ([f"good day, number {n}\t{n % 2}" for n in range(30)], "its text before the tab and its label after"),
        (["label\ttext", *(f"{n % 2}\tday {n}" for n in range(30))], "line 1 is a header"),
        ([f"{n % 2}\t{n}\tgood day" for n in range(30)], "3 columns: .* cut -f 3"),
    ],
)
def test_labels_that_are_none_are_named(tmp_path: Path, lines: Any, message: str) -> None:
    (tmp_path / "a.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=message):
        read_corpus(tmp_path / "a.txt", labelled=True)


@pytest.mark.parametrize(
    "content",
    [
        '"Yes," he said.\n"No," she said.\n' * 9,
        "Hello, world\nGoodbye, moon\n" * 9,
        "[1] a footnote\n{curly} words\n" * 9,
        "<s> the cat </s>\n" * 9,
        "10,000 people, or more\nsome\ttab\nnone\n" * 9,
        "a\tb\nc d\n" * 9,
        "今天天气很好\n" * 9,
        "one line",
    ],
)
def test_prose_is_read_as_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.txt").write_text(content)
    assert read_corpus(tmp_path / "a.txt") == content.removesuffix("\n").split("\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_any_system_and_a_byte_order_mark_are_no_text(tmp_path: Path, end: str) -> None:
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF8 + (end.join(["good day", "good night"]) + end).encode())
    (tmp_path / "b").write_bytes(gzip.compress((tmp_path / "a.txt").read_bytes()))  # whatever its name
    for name in ("a.txt", "b"):
        assert read_corpus(tmp_path / name) == ["good day", "good night"]
