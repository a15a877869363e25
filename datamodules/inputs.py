"""The user's own inputs for a trained model, one by one: sentences, lines of files, pictures, arrays, rows of tables.

Whatever cannot be used is an input with the reason, so that a long job neither stops at it nor loses count. Memory does
not grow with the number of inputs.
"""

import gzip
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from torch import Tensor

from datamodules.arrays import read_arrays
from datamodules.pictures import EXTENSIONS, Format, picture_files, quiet_decoders, read_picture
from datamodules.table_stream import stream_table
from datamodules.text_tables import TABLES, flaw, has_lines, looks_like_table, records

ARRAYS = frozenset({".npy", ".npz", ".pt", ".pth"})
"""Endings of files of arrays."""
FILES = frozenset({".txt", ".gz", ".md"}) | TABLES | ARRAYS | EXTENSIONS
"""Endings of what is meant as a file and no sentence."""
MAX_LINE = 1_000_000
"""Bytes of a line, at most: one of more is no sentence."""
AT_A_TIME = 256
"""Pictures that are handed to the threads together."""


class Input(NamedTuple):
    """One input.

    Attributes:
        name: its file, or the sentence itself.
        value: a sentence, the bytes of a picture (C, H, W), or the values of a row (D,); None if it cannot be used.
        reason: why not, or "".
        position: its line in a file, counted from 1, or its row in an array, counted from 0; None for a whole file.
        label: the name of its class, or "".
    """

    name: str
    value: Any
    reason: str = ""
    position: int | None = None
    label: str = ""


def read_inputs(
    modality: str, inputs: Sequence[str], pictures: Format | None = None, settings: Mapping[str, Any] | None = None
) -> Iterator[Input]:
    """The inputs of a model.

    Args:
        modality: text, image or table.
        inputs: what the user typed: files, folders, `-` for standard input, sentences.
        pictures: how a picture becomes an array, for images.
        settings: of the data of the run: `labelled`, `text_column` and `label_column` for text; `label`, `delimiter`
            and `decimal` for tables, and `columns`, their names.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file is damaged or of another kind.
    """
    settings = settings or {}
    for name in inputs:
        if modality == "text":
            column = settings.get("text_column")
            if column is not None and looks_like_table(name):
                first = int(has_lines(name))
                for position, text, label, reason in records(name, column, settings.get("label_column"), strict=False):
                    found = _sentence(name, text or "", position + first, labelled=False)
                    yield found._replace(label=label, reason=reason or found.reason)
            else:
                yield from _sentences(name, bool(settings.get("labelled")))
        elif modality == "table":
            options = {key: settings[key] for key in ("label", "delimiter", "decimal") if settings.get(key)}
            for line, values, label in stream_table(name, settings["columns"], **options):
                reason = values if isinstance(values, str) else ""
                yield Input(name, None if reason else values, reason, line, label)
        elif Path(name).suffix.lower() in ARRAYS:
            yield from _arrays(name)
        else:
            assert pictures is not None
            yield from _pictures(name, pictures)


# -- text -----------------------------------------------------------------------------------------------------------


def _sentences(name: str, labelled: bool) -> Iterator[Input]:
    """The lines of a text file or of standard input, or a sentence."""
    path = Path(name)
    if name != "-" and not (name.strip() and _is_file(path)):
        if path.suffix.lower() in FILES and ("/" in name or " " not in name.strip()):
            raise FileNotFoundError(f"there is no file {name}: give a file, a sentence, or - for standard input")
        yield _sentence(name, name, None, labelled=False)
        return
    with _opened(name) as file:
        position = 0
        try:
            while line := file.readline(MAX_LINE):
                position += 1
                whole = line.endswith(b"\n") or len(line) < MAX_LINE
                yield _line(name, line, position, labelled) if whole else _too_long(name, file, position)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{name} is no gzip file, or damaged ({error}): replace it by an intact copy") from error


def _is_file(path: Path) -> bool:
    try:
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give files of one sentence a line")
        return path.exists()  # a pipe is no regular file
    except OSError:  # a sentence can be too long for a name
        return False


def _opened(name: str) -> Any:
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    with open(name, "rb") as file:
        packed = Path(name).suffix == ".gz" or (Path(name).is_file() and file.read(2) == b"\x1f\x8b")
    return gzip.open(name) if packed else open(name, "rb")


def _line(name: str, line: bytes, position: int, labelled: bool) -> Input:
    try:
        text = line.decode("utf-8-sig" if position == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        return Input(name, None, f"not UTF-8: byte {error.start + 1} is 0x{line[error.start]:02x}", position)
    return _sentence(name, text, position, labelled)


def _sentence(name: str, text: str, position: int | None, labelled: bool) -> Input:
    label = ""
    if labelled and "\t" in text:
        label, _, text = text.partition("\t")
    if reason := flaw(text):
        return Input(name, None, reason, position)
    empty = not text.strip()
    return Input(name, None if empty else text, "empty" if empty else "", position, label.strip())


def _too_long(name: str, file: IO[bytes], position: int) -> Input:
    """Passes over the rest of a line."""
    while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
        pass
    return Input(name, None, f"a line of more than {MAX_LINE:,} bytes", position)


# -- images ---------------------------------------------------------------------------------------------------------


def _pictures(name: str, form: Format) -> Iterator[Input]:
    """A picture file, or those of a folder, with the names of its subfolders as labels."""
    root = Path(name).expanduser()
    if root.is_dir():
        paths = picture_files(root)
    elif root.is_file():
        paths = iter([root])
    else:
        raise FileNotFoundError(f"there is no picture, folder or file of arrays {name}")
    found = False
    with quiet_decoders(), ThreadPoolExecutor() as pool:
        while some := list(islice(paths, AT_A_TIME)):
            found = True
            for path, pixels in zip(some, pool.map(partial(_pixels, form), some), strict=True):
                inside = path.relative_to(root).parts[:-1] if path != root else ()
                reason = pixels if isinstance(pixels, str) else ""
                yield Input(str(path), None if reason else pixels, reason, None, inside[-1] if inside else "")
    if not found:
        raise ValueError(f"{name} holds no pictures, files that end in {', '.join(sorted(EXTENSIONS))}")


def _pixels(form: Format, path: Path) -> Any:
    """The pixels, or why there are none."""
    try:
        return read_picture(path, form)
    except ValueError as error:
        return str(error)


def _arrays(name: str) -> Iterator[Input]:
    """The images of a file of arrays, as they are; labels are numbers."""
    found = read_arrays(Path(name).expanduser(), mapped=True)
    images, given = found if isinstance(found, tuple) else (found, None)
    labels = None if given is None else np.asarray(given)
    if isinstance(images, Tensor):
        images = (images.float() if images.is_floating_point() else images).detach().numpy()
    if np.ndim(images) < 3:
        raise ValueError(f"{name} holds an array of shape {np.shape(images)}: give images (N, C, H, W) or (N, H, W, C)")
    if labels is not None and labels.shape != (len(images),):
        raise ValueError(f"{name} has {len(images)} images and labels of shape {labels.shape}: give one label each")
    for row, image in enumerate(images):
        yield Input(name, np.asarray(image), "", row, "" if labels is None else str(labels[row]))
