"""Recognition of files that are not text of one sentence or document a line, with advice how to convert them."""

import codecs
import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

SAMPLE = 200
"""Number of lines that are examined."""

UNPACK = "unpack it, and give the text file in it"
BINARY = {
    b"PAR1": ("a parquet file", "set data.text_column to its column of text"),
    b"ARROW1": ("an Arrow file", "write its column of text to a file, one document a line"),
    b"SQLite format 3": ("an SQLite database", "write its column of text to a file, one document a line"),
    b"\x89HDF": ("an HDF5 file", "write its text to a file, one document a line"),
    b"\x93NUMPY": ("a NumPy array", "write its text to a file, one document a line"),
    b"\x80\x04": ("a pickle", "write its text to a file, one document a line"),
    b"\x80\x05": ("a pickle", "write its text to a file, one document a line"),
    b"PK\x03\x04": ("a zip archive, or an office document", UNPACK + ", or save the document as plain text"),
    b"\xd0\xcf\x11\xe0": ("an office document", "save it as plain text"),
    b"{\\rtf": ("a rich text document", "save it as plain text"),
    b"%PDF": ("a PDF document", "convert it to text, as by pdftotext"),
    b"BZh": ("a bzip2 archive", UNPACK),
    b"\xfd7zXZ": ("an xz archive", UNPACK),
    b"7z\xbc\xaf": ("a 7z archive", UNPACK),
    b"\x28\xb5\x2f\xfd": ("a zstandard archive", UNPACK),
    b"\x89PNG": ("a picture", "give a text file"),
    b"\xff\xd8\xff": ("a picture", "give a text file"),
    b"GIF8": ("a picture", "give a text file"),
}
"""First bytes of files of other formats: the name of the format, and the advice."""

CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
MARKUP = "HTML or XML: take the text out of its tags, and write one document a line"
LARGE = 1 << 26
"""Bytes of a file that is not looked at whole."""
HEADERS = {"label", "labels", "class", "category", "target", "sentiment", "topic", "stars", "rating"}


def check_is_text(path: str | Path, content: bytes, advice_instead: str | None = None) -> None:
    """Raise a ValueError if a file is not text, or is UTF-16 or UTF-32 text without a byte order mark.

    Args:
        path: The file.
        content: What is in it.
        advice_instead: What to do with a file of another kind, where that is not to make it sentences.
    """
    kind, advice = next((found for start, found in BINARY.items() if content.startswith(start)), (None, ""))
    if content[257:262] == b"ustar":
        kind, advice = "a tar archive", UNPACK
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise ValueError(f"{path} is UTF-32: convert the file, as by iconv -f utf-32 -t utf-8")
    if kind is None and not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        zeros = [content[start:4000:2].count(0) / max(1, len(content[start:4000:2])) for start in (0, 1)]
        if max(zeros) > 0.3 and min(zeros) < 0.05:
            order = "le" if zeros[1] > zeros[0] else "be"
            raise ValueError(f"{path} is UTF-16: convert the file, as by iconv -f utf-16{order} -t utf-8")
        controls = len(content) - len(content.translate(None, CONTROLS))
        if controls > 0.005 * len(content):
            kind, advice = "a binary file", "give a text file of one sentence or document a line"
    if kind is not None:
        raise ValueError(f"{path} is {kind}, not text: {advice_instead or advice}")


def encoding_of(content: bytes) -> str:
    """The probable encoding of text that is not UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    letters = re.sub(rb"[\x00-\x40]", b"", content)
    if sum(byte >= 128 for byte in letters) > 0.3 * len(letters):  # no Western language
        return "ENCODING (gb18030 for Chinese, shift_jis for Japanese, cp1251 for Russian, ...)"
    return "cp1252" if re.search(rb"[\x80-\x9f]", content) else "latin1"


def check_is_prose(path: str | Path, head: Sequence[str], labelled: bool = False) -> None:
    """Raise a ValueError if lines are those of a table, of JSON or of markup, whose syntax would be read as words.

    Args:
        path: The file that they come from.
        head: Its first lines, twice `SAMPLE` of them if there are.
        labelled: Whether each should be `label<TAB>text`.
    """
    sample = _sample(head)
    first = sample[0].strip() if sample else ""
    found = _json_lines(path, sample) or _table(path, sample)
    if re.match(r"<(!doctype|html|\?xml)\b", first, re.IGNORECASE):
        found = MARKUP
    tabs = {line.count("\t") for line in sample}
    if tabs == {1} and not labelled:
        found = (
            "a table of two columns: if it is label<TAB>text, set data.labelled to true; if it has a line of names, "
            "set data.text_column; else keep one, as by cut -f 2"
        )
    elif len(tabs) == 1 and min(tabs) > 1:
        column = _longest([line.split("\t") for line in sample]) + 1
        found = (
            f"a table of {min(tabs) + 1} columns: if it has a line of names, set data.text_column to that of the text; "
            f"else keep it, as by cut -f {column} {path} > text.txt"
        )
    if found:
        raise ValueError(f"{path} is {found}")


def check_is_no_document(path: str | Path, head: Sequence[str], last: str, whole: Callable[[], str]) -> None:
    """Raise a ValueError if a file is one document, of JSON or of markup.

    Args:
        path: The file.
        head: Its first lines.
        last: The last of its lines that is not empty.
        whole: Reads all of it, if it has to be.
    """
    sample = _sample(head)
    first, last = sample[0].strip() if sample else "", last.rstrip()
    tag = re.match(r"<([A-Za-z][\w:.-]*)[\s>]", first)
    if tag is not None and tag[1] != "s" and last.endswith(f"</{tag[1]}>"):  # <s> marks sentences
        raise ValueError(f"{path} is {MARKUP}")
    if first[:1] + last[-1:] in ("{}", "[]"):
        large = Path(path).stat().st_size > LARGE  # too large to be looked at whole: the two ends decide
        if large or isinstance(_loaded(whole()), dict | list):
            raise ValueError(
                f"{path} is JSON: take the texts out with Python's json.load, and write one document a line"
            )


class LabelCheck:
    """Recognition of a file in which the text before the tabs is no label, block by block.

    Args:
        path: The file.
    """

    def __init__(self, path: str | Path) -> None:
        self._path, self._total, self._num_first = path, 0, 0
        self._first = ("", "")
        self._kinds: set[str] = set()
        self._texts: set[int] = set()

    def add(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        """Look at some more labels and their texts; after a million that are all different, raise a ValueError."""
        if labels and not self._total:
            self._first = labels[0], texts[0]
        self._num_first += labels.count(self._first[0])
        if self._all_different:
            self._kinds.update(labels)
            self._texts.update(map(hash, texts))
        self._total += len(labels)
        if not self._all_different:
            self._kinds = set()
        elif self._total > 1_000_000:
            self.finish()

    def finish(self) -> None:
        """Raise a ValueError if the text before the tabs is not a label."""
        advice = "write label<TAB>text, or set labelled to false"
        label, text = self._first
        if label.casefold() in HEADERS and self._num_first == 1:
            raise ValueError(f"{self._path}, line 1 is a header, {label}<TAB>{text}: take it out, as by tail -n +2")
        if self._total < 20 or not self._all_different:
            return
        if len(self._texts) < self._total / 2:
            raise ValueError(f"{self._path} has its text before the tab and its label after it: {advice}")
        raise ValueError(
            f"{self._path} has a different label in each of its {self._total} lines, such as {label!r}: {advice}, "
            "with the text alone, as by cut -f 2"
        )

    @property
    def _all_different(self) -> bool:
        return len(self._kinds) == self._total


def _sample(head: Sequence[str]) -> list[str]:
    return [line for line in head if line.strip()][:SAMPLE]


def _json_lines(path: str | Path, sample: Sequence[str]) -> str | None:
    """The user message about a file of a JSON record a line; None if it is not one."""
    if not sample or sample[0].lstrip()[0] not in "{[":
        return None
    records = [_loaded(line) for line in sample[:5]]
    if not all(isinstance(record, dict | list) for record in records):
        return None
    first = records[0]
    if not isinstance(first, dict):
        return "JSON, a list a line: write an object a line, and set data.text_column to the key of the text"
    sizes = {name: len(value) for name, value in first.items() if isinstance(value, str)}
    text = max(sizes, key=lambda name: sizes[name], default="text")
    return f"JSON, an object a line: set data.text_column to the key of the text, such as {text}"


def _loaded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _table(path: str | Path, sample: Sequence[str]) -> str | None:
    """The user message about a file of comma-separated values; None if it is not one."""
    named = Path(str(path).removesuffix(".gz")).suffix.lower() == ".csv"
    for delimiter in ",;":
        try:
            rows = list(csv.reader(sample, delimiter=delimiter))
        except csv.Error:
            continue
        rows = rows[:-1] if len(sample) == SAMPLE else rows  # the last may continue beyond the sample
        widths = {len(row) for row in rows}
        quoted = sum(bool(re.search(rf'(^|{delimiter})"([^"]|"")*"({delimiter}|$)', line)) for line in sample)
        numbered = all(re.match(rf"\d+{delimiter}\S", line) for line in sample)
        header = all(re.fullmatch(r"[A-Za-z_]\w{0,29}", name) for name in rows[0]) if rows else False
        if (
            len(widths) == 1
            and min(widths) > 1
            and len(rows) >= 5
            and (quoted > 0.9 * len(sample) or header or numbered)
        ):
            advice = f"set data.text_column to that of the text, such as {rows[0][_longest(rows[1:])]}"
            if not header:
                advice = (
                    "put a line with the names of its columns above it, and set data.text_column to that of the text"
                )
            return f"a table of {min(widths)} columns (CSV): {advice}"
    return "named as a table (CSV): set data.text_column to its column of text, or name it .txt" if named else None


def _longest(rows: Sequence[Sequence[str]]) -> int:
    """The column with the most characters."""
    columns = range(min(len(row) for row in rows))
    return max(columns, key=lambda column: sum(len(row[column]) for row in rows))
