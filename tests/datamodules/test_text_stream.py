"""Text that is read block by block is what it would be if it were read at once, and so are the messages."""

import gzip
from pathlib import Path

import pytest

from datamodules import text_stream
from datamodules.lines import TextFile
from datamodules.text_stream import read_text, text_blocks


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_stream, "BLOCK", 16)
    monkeypatch.setattr(text_stream, "LONGEST", 60)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "no end"])
def test_blocks_are_whole_lines_and_all_of_them(tmp_path: Path, end: str, last: str) -> None:
    lines = ["é" * (number % 9 + 3) for number in range(40)]
    text = "\ufeff" + "".join(line + end for line in lines) + last
    (tmp_path / "plain").write_bytes(text.encode())
    (tmp_path / "packed").write_bytes(gzip.compress(text.encode()))
    for name in ("plain", "packed"):
        blocks = list(text_blocks(tmp_path / name))
        assert len(blocks) > 10
        assert all(block.endswith("\n") for block in blocks[:-1])
        assert "".join(blocks) == read_text(tmp_path / name) == text[1:].replace(end, "\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"good day\n" * 50 + b"good d\xe9y\n", r"line 51, byte 7: 0xe9 is not UTF-8; .* iconv -f latin1"),
        (b"good day\n" * 50 + b"good\0day\n", "line 51 holds a NUL byte"),
        (b"good day\n" * 50 + b"x" * 90, "line 51 is longer than 60 bytes"),
        (b"\n \n" * 50, "is empty: give"),
    ],
)
def test_messages_name_the_line_of_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(text_blocks(tmp_path / "text"))


@pytest.mark.parametrize(
    ("lines", "labels", "message"),
    [
        ([f"{n % 3}\tday {n}" for n in range(40)] + ["\tday"], None, "line 41 has an empty label"),
        ([f"{n % 3}\tday {n}" for n in range(40)] + ["day"], None, "line 41 has no label"),
        ([f"{n}\tday {n}" for n in range(40)], None, "a different label in each of its 40 lines, such as '0'"),
        (["<doc>", *["good day"] * 40, "</doc>"], None, "HTML or XML"),
        (["[", *['"good day",'] * 40, '"good night"', "]"], None, "JSON: take the texts out"),
        (["good day"] * 40, ["a"] * 39, "has 39 labels, but .* has 40 lines"),
        (["good day"] * 40, ["a"] * 41, "has 41 labels, but .* has 40 lines"),
        (["good day"] * 40, ["a"] * 38 + ["", "b"], "labels, line 39 has an empty label"),
    ],
)
def test_what_is_wrong_far_from_the_beginning_is_found(
    tmp_path: Path, lines: list[str], labels: list[str] | None, message: str
) -> None:
    (tmp_path / "text").write_text("\n".join(lines))
    (tmp_path / "labels").write_text("\n".join(labels or ()))
    source = TextFile(tmp_path / "text", tmp_path / "labels" if labels else None, labelled="\t" in lines[0])
    with pytest.raises(ValueError, match=message):
        list(source.blocks())


def test_lines_keep_their_numbers(tmp_path: Path) -> None:
    lines = ["", "good day", "  ", "good night", *["", "again"] * 20]
    (tmp_path / "text").write_text("\n".join(lines))
    (tmp_path / "labels").write_text("\n".join(f"label {number}" for number in range(len(lines))))
    found = [
        (number, text, label)
        for block in TextFile(tmp_path / "text", tmp_path / "labels").blocks()
        for number, text, label in zip(block.line_numbers.tolist(), block.texts, block.labels or (), strict=True)
    ]
    assert found == [(number, text, f"label {number}") for number, text in enumerate(lines) if text.strip()]
