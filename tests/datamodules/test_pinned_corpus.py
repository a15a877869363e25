"""The batches of a small corpus are those that they have always been, whatever way they are prepared in."""

import gzip
import json
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from datamodules import LSTMCorpusDataModule, TextDataModule, VersesDataModule

WORDS = ["the", "Cat", "sat,", "on", "a", "Mat!", "müde", "日本", "😀", "don't", "x-y", "(so)", "dog", "Dog", "."]


def line(number: int) -> str:
    """A function of the number alone: some are long, some have spaces of many kinds."""
    words = [WORDS[(number * 7 + position * position * 3) % len(WORDS)] for position in range(1 + number * 5 % 23)]
    return ("  " if number % 11 == 0 else " ").join([f"w{number % 60}", *words])


LINES = [("", " \t ")[number % 2] if number % 37 == 5 else line(number) for number in range(400)]
LABELS = [f"class {number * 3 % 5}" for number in range(400)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("corpus")
    tabbed = [f"{label}\t{text}" if text.strip() else text for label, text in zip(LABELS, LINES, strict=True)]
    contents = {
        "plain.txt": "\n".join(LINES),
        "few.txt": "\r\n".join(LINES[100:160]) + "\r\n",
        "tabbed.txt": "\n".join(tabbed).replace(" \t ", ""),
        "labels.txt": "\n".join(LABELS) + "\n",
        "few_labels.txt": "\n".join(LABELS[100:160]),
    }
    for name, text in contents.items():
        (folder / name).write_bytes(text.encode())
    (folder / "packed.txt.gz").write_bytes(gzip.compress(contents["plain.txt"].encode(), mtime=0))
    vocabulary = TextDataModule(str(folder / "few.txt"), vocab_size=40, lowercase=True).vocabulary
    (folder / "vocabulary.json").write_text(vocabulary.to_json(), encoding="utf-8")
    return {path.name.split(".")[0]: str(path) for path in folder.iterdir() if path.is_file()}


def everything(data: Any) -> str:
    """A digest of two epochs of training batches, those of evaluation, and what is known of the splits."""
    data.setup()
    digest = sha256()
    training = data.train_dataloader()
    for loader in (training, training, data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        for batch in loader:
            for part in batch:
                assert part.dtype == torch.int64
                digest.update(repr(tuple(part.shape)).encode() + part.contiguous().numpy().astype("<i8").tobytes())
    known = [data.vocabulary.words, data.vocab_size, data.label_names, data.split_facts]
    digest.update(json.dumps(known, sort_keys=True).encode())
    return digest.hexdigest()[:16]


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({"train": "plain"}, "5c0b05b286d9ddeb"),
    "packed": ({"train": "packed"}, "5c0b05b286d9ddeb"),
    "small vocabulary": (
        {"train": "plain", "vocab_size": 20, "seed": 3, "split_seed": 2, "batch_size": 7},
        "69ed94b64fa432ba",
    ),
    "capitals and punctuation": ({"train": "plain", "lowercase": True, "split_punctuation": True}, "58df2c3847a36c26"),
    "byte pairs": ({"train": "plain", "tokenization": "bpe", "vocab_size": 320}, "b0825d7a8761e727"),
    "byte pairs, cut": (
        {"train": "plain", "tokenization": "bpe", "vocab_size": 300, "max_length": 9, "too_long": "truncate"},
        "6c72f2ab04baa9a1",
    ),
    "words, cut": (
        {"train": "plain", "split_punctuation": True, "max_length": 8, "too_long": "truncate"},
        "81eacc65a38367e4",
    ),
    "words, left out": (
        {"train": "plain", "max_length": 12, "train_size": 150, "exact_length": True},
        "9d72907887aa98e2",
    ),
    "labels in the lines": (
        {"train": "tabbed", "labelled": True, "train_size": 3, "batch_size": 2},
        "30f8134eb207d044",
    ),
    "labels in files": (
        {"train": "plain", "train_labels": "labels", "val": "few", "val_labels": "few_labels", "test_size": 40},
        "5380c73649b2237e",
    ),
    "three files": (
        {"train": "plain", "val": "few", "test": "packed", "max_tokens": 120, "fixed_batches": True},
        "4259e532f14994fe",
    ),
    "another vocabulary": (
        {"train": "plain", "vocab_file": "vocabulary", "val_size": 33, "test_size": 0.25},
        "34665ecb3d3c074c",
    ),
}


@pytest.mark.filterwarnings("ignore:unknown words", "ignore:.* sentences are longer")
@pytest.mark.parametrize("case", CASES)
def test_batches_are_those_of_old(files: dict[str, str], case: str) -> None:
    options, wanted = CASES[case]
    options = {name: files.get(str(value), value) for name, value in options.items()}
    for _ in range(2):  # prepared now, and found prepared
        assert everything(TextDataModule(**options)) == wanted


@pytest.mark.filterwarnings("ignore:unknown words", "ignore:.* sentences are longer")
def test_so_are_those_of_each_process_and_of_the_other_corpora(files: dict[str, str]) -> None:
    data = TextDataModule(files["plain"], batch_size=9)
    data.setup()
    data.trainer = SimpleNamespace(global_rank=1, world_size=2, overfit_batches=0)
    found = [everything(data)]
    found.append(everything(VersesDataModule(vocab_size=500, train_size=600, max_length=30, eval_batch_size=100)))
    found.append(everything(LSTMCorpusDataModule(vocab_size=50, hidden_dim=8, sizes=(320, 20, 20))))
    assert found == ["c5305cf8b77fa804", "cc4b3b8b47c9850d", "e5df8a1e940ee3d2"]
