"""Text in columns of tables: the same corpus from any format, and what cannot be used is named."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules import TextDataModule
from datamodules.inputs import read_inputs

TEXTS = [f'the cat, number {n}, said\n"no" to {n % 7} dogs' for n in range(40)]
LABELS = ["odd" if n % 2 else "even" for n in range(40)]


def write_csv(path: Path, delimiter: str = ",") -> None:
    file = io.StringIO()
    rows = csv.writer(file, delimiter=delimiter)
    rows.writerow(["id", "kind", "body"])
    rows.writerows((n, *row) for n, row in enumerate(zip(LABELS, TEXTS, strict=True)))
    content = file.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_json(path: Path) -> None:
    path.write_text("".join(json.dumps({"kind": k, "body": t}) + "\n" for k, t in zip(LABELS, TEXTS, strict=True)))


def write_parquet(path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"body": TEXTS, "kind": LABELS}), path)


def write_dataset(path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"body": datasets.Value("string"), "kind": datasets.ClassLabel(names=["odd", "even"])})
    columns = {"body": TEXTS, "kind": [int(label == "even") for label in LABELS]}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(path))


def contents(train: Path, **options: Any) -> list[tuple[str, str, int]]:
    """The text, the label and the id of each training example."""
    data = TextDataModule(str(train), val_size=4, test_size=4, tokenization="bpe", vocab_size=500, **options)
    data.setup()
    split = data.splits["train"]
    rows = [split.tokens[start : start + length] for start, length in zip(split.starts, split.lengths, strict=True)]
    names = [data.label_names[label] if label >= 0 else "" for label in split.labels.tolist()]
    texts = [data.vocabulary.decode(row.tolist()) for row in rows]
    return list(zip(texts, names, split.ids.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", write_csv),
        ("a.txt", write_csv),
        ("a.tsv", lambda path: write_csv(path, "\t")),
        ("a.csv.gz", write_csv),
        ("a.jsonl", write_json),
        ("a.parquet", write_parquet),
        ("dataset", write_dataset),
    ],
)
def test_every_format_holds_the_same_corpus(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    found = contents(tmp_path / name, text_column="body", label_column="kind")
    assert len(found) == 32
    for text, label, number in found:
        row = TEXTS.index(text)
        assert label == LABELS[row]
        # the header and the lines of a text count as lines of the file
        assert number == (1 + 2 * row if name.startswith(("a.csv", "a.txt", "a.tsv")) else row)
    assert sorted(contents(tmp_path / name, text_column="body")) == sorted((t, "", n) for t, _, n in found)


def test_a_data_set_brings_its_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {
        split: datasets.Dataset.from_dict({"text": [f"{split} number {n}" for n in range(9)]})
        for split in ("train", "validation", "test")
    }
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "d"))
    data = TextDataModule(str(tmp_path / "d"), text_column="text")
    data.setup()
    assert {split: len(found.lengths) for split, found in data.splits.items()} == {"train": 9, "val": 9, "test": 9}
    with pytest.raises(ValueError, match=r"set data\.text_column"):
        TextDataModule(str(tmp_path / "d")).setup()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,text\n1,hello there\n", "no column 'body': it has id, text"),
        ("a.csv", "id,bdy\n1,hello there\n", "no column 'body': did you mean 'bdy'"),
        ("a.csv", "body,kind\na b,x\nc,d,x\n", "line 3: 3 values where line 1 has 2"),
        ("a.csv", 'body,kind\n"a b,x\n', "is a quote not closed"),
        ("a.csv", "body,kind\na b,\n", "line 2 has no label in 'kind'"),
        ("a.csv", "body,kind\n,x\n ,x\n", "has no text in 'body'"),
        ("a.csv", "", "is empty"),
        ("a.jsonl", '{"body": "a b", "kind": 1}\n{"body": 3, "kind": 1}\n', "line 2: 'body' is 3, which is no text"),
        ("a.jsonl", '{"body": "a b", "kind": 1}\n{"body": \n', "line 2: no JSON"),
        ("a.jsonl", '{"body": "a b", "kind": 1}\n[1]\n', "line 2: no JSON object"),
        ("a.jsonl", '{"text": "a b"}\n', "no column 'body'"),
        ("a.jsonl", '{"body": "a b", "kind": null}\n', "line 1 has no label"),
        ("a.jsonl", '{"body": "a \\ud83d", "kind": "x"}\n', "line 1: 'body' holds half a surrogate pair"),
        ("a.json", '[\n{"body": "a b"}]\n', "one JSON array: save it as JSON lines"),
        ("a.parquet", "PAR1 not", "is it damaged"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        contents(tmp_path / name, text_column="body", label_column="kind")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_column": "kind"}, "set text_column, too"),
        ({"text_column": "body", "labelled": True}, "labels of a table"),
        ({"text_column": "body", "train_labels": "l.txt"}, "labels of a table"),
        ({"tokenizer": "t.json", "vocab_file": "v.json"}, "set one of the two"),
        ({"normalization": "NFX"}, "one of NFC"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextDataModule("a.csv", **options)


def test_own_inputs_are_rows_of_tables_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("body,more\na b,1\n,2\nc,3\nd\n")
    settings = {"text_column": "body", "label_column": "kind"}
    found = list(read_inputs("text", [str(tmp_path / "a.csv"), "a sentence"], settings=settings))
    assert [(each.value, each.position) for each in found] == [
        *(("a b", 2), (None, 3), ("c", 4), (None, 5), ("a sentence", None))
    ]
    assert [each.reason for each in found][1:4:2] == ["empty", "1 values where line 1 has 2, is a value not quoted?"]


def test_rows_of_parquet_are_counted_from_0(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv")
    write_parquet(tmp_path / "a.parquet")
    settings = {"text_column": "body", "label_column": "kind"}
    for name, first in (("a.csv", 2), ("a.parquet", 0)):
        found = list(read_inputs("text", [str(tmp_path / name)], settings=settings))
        assert (found[0].position, [each.value for each in found]) == (first, TEXTS)
