"""Text files read block by block, plain or gzipped, in memory that does not grow with the file."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from datamodules.formats import check_is_text, encoding_of

SENTENCES = "give a file of one sentence or document a line"
"""The advice about a file that is no such text."""
BLOCK = 1 << 21
"""Bytes that are read at once."""
LONGEST = 1 << 28
"""Bytes of a line, at most."""


def unpacked(path: Path, advice: str = SENTENCES) -> Iterator[bytes]:
    """The content of a file in blocks, unpacked if it is gzipped.

    Text is compressed to about a tenth; one that unpacks to over a hundred times its size is made to fill the memory.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is a damaged gzip file, or one that unpacks to far more than text does.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: {advice}")
    with path.open("rb") as file:
        packed = path.suffix == ".gz" or file.read(2) == b"\x1f\x8b"
    left = 1_000_000 + 100 * path.stat().st_size
    try:
        with gzip.open(path) if packed else path.open("rb") as content:
            while block := content.read(BLOCK):
                left -= len(block)
                if left < 0:
                    raise ValueError(
                        f"{path} unpacks to over a hundred times its size, which no text does: unpack it yourself"
                    )
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is no gzip file, or damaged ({error}): replace it by an intact copy") from error


def text_blocks(path: str | Path, advice: str = SENTENCES, of_another_kind: str | None = None) -> Iterator[str]:
    """The text of a UTF-8 file, plain or gzipped, in blocks of whole lines, with LF as the end of each.

    Args:
        path: The file.
        advice: What to give instead, where it is absent or empty.
        of_another_kind: What to do where it is no text; by default how to make sentences of it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is empty, damaged, no text, or not UTF-8; names the line and the byte.
    """
    num_lines, first, blank = 0, True, True
    for content in _whole_lines(path, unpacked(Path(path), advice)):
        blank = blank and not content.strip()
        if first:
            check_is_text(path, content, of_another_kind)
        yield _decoded(path, content, num_lines, first)
        num_lines, first = num_lines + content.count(b"\n"), False
    if blank:
        raise ValueError(f"{path} is empty: {advice}")


def read_text(path: str | Path, advice: str = SENTENCES, of_another_kind: str | None = None) -> str:
    """The whole text of a file, see `text_blocks`."""
    return "".join(text_blocks(path, advice, of_another_kind))


def _whole_lines(path: str | Path, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes cut at the ends of lines, which are LF, or CR (of an old Mac) in a file that begins without LF."""
    end, num_lines = b"", 0
    beginning: list[bytes] = []  # of a line whose end was not read yet
    for block in blocks:
        end = end or (b"\n" if b"\n" in block else b"\r" if b"\r" in block[:-1] else b"")
        cut = block.rfind(end) + 1 if end else 0
        if cut:
            whole = b"".join([*beginning, block[:cut]])
            num_lines += whole.count(end)
            yield whole if end == b"\n" else whole.replace(b"\r", b"\n")
            beginning = []
        beginning.append(block[cut:])
        if sum(map(len, beginning)) > LONGEST:
            raise ValueError(f"{path}, line {num_lines + 1} is longer than {LONGEST:,} bytes: {SENTENCES}")
    if any(beginning):
        rest = b"".join(beginning)
        yield rest if end == b"\n" else rest.replace(b"\r", b"\n")


def _decoded(path: str | Path, content: bytes, num_lines: int, first: bool) -> str:
    """The text of a block that comes after this number of lines."""
    try:
        text = content.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        line = num_lines + content.count(b"\n", 0, error.start) + 1
        byte = error.start - content.rfind(b"\n", 0, error.start)
        raise ValueError(
            f"{path}, line {line}, byte {byte}: 0x{content[error.start]:02x} is not UTF-8; "
            f"convert the file, as by iconv -f {encoding_of(content)} -t utf-8"
        ) from error
    # not splitlines(), which also splits at characters that may occur within a line
    text = text.replace("\r\n", "\n")
    if "\0" in text:
        line = num_lines + text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}, line {line} holds a NUL byte: the file is damaged; replace it by an intact copy")
    return text
