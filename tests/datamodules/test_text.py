import gzip
import hashlib
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from datamodules import PTBDataModule, TextDataModule, VersesDataModule, YahooDataModule
from datamodules.files import PublishedFile

LINES = [f"word{i} has {'very ' * (i % 7)}few words" for i in range(60)]


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., str]:
    """Writes lines to a file and gives its name."""

    def write(lines: Any, name: str = "corpus.txt") -> str:
        content = lines if isinstance(lines, bytes) else "".join(f"{line}\n" for line in lines).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(tmp_path / name)

    return write


def sentences_of(data: Any, loader: Any) -> list[Any]:
    return [data.vocabulary.decode(row.tolist()) for batch in loader for row in batch[0]]


@pytest.mark.parametrize("name", ["corpus.txt", "corpus.txt.gz"])
def test_one_file_is_split_by_its_own_seed_alone(corpus: Callable[..., str], name: str) -> None:
    splits = []
    for seed in (0, 1):
        data = TextDataModule(corpus(LINES, name), batch_size=7, seed=seed)
        data.setup()
        loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
        splits.append([sorted(sentences_of(data, loader)) for loader in loaders])
    assert splits[0] == splits[1]
    assert [len(split) for split in splits[0]] == [48, 6, 6]
    train_words = {word for line in splits[0][0] for word in line.split()}
    assert set(data.vocabulary.words[4:]) == train_words  # held-out words are not known
    other = TextDataModule(corpus(LINES, name), split_seed=1)
    other.setup()
    assert sorted(sentences_of(other, other.train_dataloader())) != splits[0][0]


def test_three_files_are_the_splits_and_batches_are_as_promised(corpus: Callable[..., str]) -> None:
    files = {part: corpus(LINES[rows], f"{part}.txt") for part, rows in PARTS.items()}
    data = TextDataModule(**files, batch_size=5, eval_batch_size=4)
    assert data.vocab_size == len(data.vocabulary.words)  # before any trainer
    data.setup()
    assert sorted(sentences_of(data, data.train_dataloader())) == sorted(" ".join(line.split()) for line in LINES[:40])
    for tokens, label, row in data.predict_dataloader():
        assert tokens.dtype == label.dtype == row.dtype == torch.int64
        assert (tokens[:, 0] == 2).all()
        assert (label == -1).all()
        for sentence, number in zip(tokens, row, strict=True):
            real = sentence[sentence != 0]
            assert real[-1] == 3
            assert (sentence[len(real) :] == 0).all()
            known = [word if word in data.vocabulary.words else "<unk>" for word in LINES[50 + int(number)].split()]
            assert data.vocabulary.decode(sentence.tolist()).split() == known


@pytest.mark.parametrize("test_file", [False, True])
def test_what_is_predicted_names_its_line(corpus: Callable[..., str], test_file: bool) -> None:
    lines = ["", *LINES[:30], "  ", "too long " * 30, *LINES[30:]]
    file, option = corpus(lines), {"test": corpus(lines, "test.txt")} if test_file else {}
    data = TextDataModule(file, **option, max_length=20, train_size=40)
    data.setup()
    x, _, ids = zip(*data.predict_dataloader(), strict=True)
    lines_said = [int(line) for batch in ids for line in batch]
    assert len(lines_said) == (60 if test_file else 6)
    for line, said in zip(lines_said, (row for batch in x for row in batch.tolist()), strict=True):
        known = [word if word in data.vocabulary.words else "<unk>" for word in lines[line].split()]
        assert data.vocabulary.decode(said).split() == known


PARTS = {"train": slice(0, 40), "val": slice(40, 50), "test": slice(50, 60)}


@pytest.mark.parametrize("style", ["tab", "files"])
def test_labels_stay_with_their_sentences(corpus: Callable[..., str], style: str) -> None:
    labels = [("odd", "even")[i % 2 == 0] for i in range(60)]
    if style == "tab":
        data = TextDataModule(corpus([f"{a}\t{b}" for a, b in zip(labels, LINES, strict=True)]), labelled=True)
    else:
        data = TextDataModule(corpus(LINES), train_labels=corpus(labels, "labels.txt"))
    data.setup()
    assert data.label_names == ["even", "odd"]
    for tokens, label in data.train_dataloader():
        for row, number in zip(tokens.tolist(), label.tolist(), strict=True):
            assert int(data.vocabulary.decode(row).split()[0].removeprefix("word")) % 2 == number


def test_what_is_left_out_is_counted_and_reported(corpus: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    lines = [*LINES[:20], "", "  ", " ".join(["long"] * 31), *LINES[20:]]
    data = TextDataModule(corpus(lines), max_length=30, val_size=5, test_size=5)
    with caplog.at_level(logging.INFO):
        data.setup()
    assert "2 of 63 lines are empty and left out" in caplog.text
    assert "sentences are longer than max_length=30 and left out" in caplog.text
    assert sum(len(split.lengths) for split in data.splits.values()) == 60


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "is empty"),
        (b"\n\n", {}, "is empty"),
        (b"good\nbad \xe9 byte\n", {}, "line 2, byte 5: 0xe9 is not UTF-8"),
        (LINES, {"labelled": True}, "line 1 has no label"),
        (LINES, {"max_length": 1}, "no sentence has at most max_length=1"),
        (LINES[:5], {}, "5 sentences are too few to be split by sizes 0.1, 0.1"),
        (LINES, {"val_size": 60}, "corpus.txt: 60 sentences are too few .*; set val_size and test_size"),
        (LINES, {"train_size": 500}, "train_size=500 is more than the 48"),
        (LINES, {"max_tokens": 4}, "train split: max_tokens=4 is less"),
        (["a b <eos> c"] * 30, {}, "train split: line .* contains <eos>"),
        ("good\n".encode("utf-16"), {}, "iconv -f utf-16"),
        ([*["good\tday"] * 30, "\tday"], {"labelled": True}, "line 31 has an empty label"),
    ],
)
def test_bad_text_is_named(corpus: Callable[..., str], content: Any, options: dict[str, Any], message: str) -> None:
    data = TextDataModule(corpus(content), **options)
    with pytest.raises(ValueError, match=message):
        data.train_dataloader()


def test_labels_that_do_not_match_the_lines_are_counted(corpus: Callable[..., str]) -> None:
    data = TextDataModule(corpus(LINES), train_labels=corpus(["a"] * 59, "labels.txt"))
    with pytest.raises(ValueError, match=r"59 labels, but .* has 60 lines"):
        data.setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": None}, "give batch_size, max_tokens"),
        ({"val": "v.txt", "train_labels": "l.txt"}, "for each text file, or for none"),
        ({"labelled": True, "train_labels": "l.txt"}, "set one of the two"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextDataModule("corpus.txt", **options)


def test_missing_and_damaged_files_are_named(tmp_path: Path, corpus: Callable[..., str]) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        TextDataModule(str(tmp_path / "none.txt")).setup()
    (tmp_path / "bad.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="no gzip file, or damaged"):
        TextDataModule(str(tmp_path / "bad.txt.gz")).setup()


def test_two_processes_share_every_split(corpus: Callable[..., str]) -> None:
    data = TextDataModule(corpus(LINES), batch_size=4, eval_batch_size=2)
    data.setup()
    seen = {"train": [], "test": []}
    for rank in range(2):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, overfit_batches=0)
        seen["train"].append(sentences_of(data, data.train_dataloader()))
        seen["test"] += sentences_of(data, data.test_dataloader())
    assert len(seen["train"][0]) == len(seen["train"][1]) == 24
    assert not set(seen["train"][0]) & set(seen["train"][1])
    data.trainer = None
    assert sorted(seen["test"]) == sorted(sentences_of(data, data.test_dataloader()))


def test_the_verses_are_all_there() -> None:
    data = VersesDataModule(vocab_size=3000)
    data.setup()
    (verses,) = data.parts()
    assert sum(len(block.texts) for block in verses.source.blocks()) == 31_086
    assert [len(split.lengths) for split in data.splits.values()] == [24_866, 3_109, 3_109]
    assert data.vocab_size == 3000
    assert len(data.label_names) == 66
    tokens, label = next(iter(data.val_dataloader()))
    assert 1 - (tokens != 0).float().mean() < 0.05
    assert 0 <= int(label.min()) <= int(label.max()) < 66


def published(monkeypatch: pytest.MonkeyPatch, cls: type[Any], folder: Path, texts: dict[str, list[str]]) -> None:
    folder.mkdir()
    files = {}
    for part, lines in texts.items():
        content = "".join(f"{line}\n" for line in lines).encode()
        (folder / f"{part}.txt.gz").write_bytes(gzip.compress(content))
        files[part] = PublishedFile(f"{part}.txt", hashlib.md5(content).hexdigest(), [])
    monkeypatch.setattr(cls, "files", files)


def test_yahoo_without_its_training_file_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = {"train": LINES[:1], "valid": LINES[:40], "test": LINES[40:]}
    published(monkeypatch, YahooDataModule, tmp_path / "yahoo100k", texts)
    (tmp_path / "yahoo100k/train.txt.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"put train\.txt into .* \(download is off\)"):
        YahooDataModule(str(tmp_path), download=False).setup()
    data = YahooDataModule(str(tmp_path), train_file="valid", download=False)
    data.setup()
    assert [len(split.lengths) for split in data.splits.values()] == [40, 10, 10]


def test_a_published_text_that_was_changed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    published(monkeypatch, PTBDataModule, tmp_path / "ptb", dict.fromkeys(("train", "val", "test"), LINES))
    (tmp_path / "ptb/val.txt.gz").write_bytes(gzip.compress(b"another text\n"))
    with pytest.raises(ValueError, match=r"val\.txt\.gz is not the published text"):
        PTBDataModule(str(tmp_path)).setup()


def test_the_real_corpora(shared_data: Path) -> None:
    treebank = PTBDataModule(str(shared_data), download=False)
    treebank.setup()
    assert [len(split.lengths) for split in treebank.splits.values()] == [42_068, 3_370, 3_761]
    assert treebank.vocab_size == 10_002
    assert int((treebank.splits["train"].tokens != 2).sum()) == 929_589
    yahoo = YahooDataModule(str(shared_data), train_file="valid", download=False)
    yahoo.setup()
    assert [len(split.lengths) for split in yahoo.splits.values()] == [10_000, 5_000, 5_000]
    assert int((yahoo.splits["train"].tokens == 1).sum()) == 33_582
    assert yahoo.vocab_size == 17_044 + 3


@pytest.mark.parametrize("size", [0, -3, 1.5, 0.0, 1.0])
@pytest.mark.parametrize("name", ["val_size", "test_size"])
def test_a_size_that_no_split_can_have_is_named(corpus: Callable[..., str], name: str, size: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={size} must be a fraction"):
        TextDataModule(corpus(LINES), **{name: size})


def test_a_special_symbol_is_named_by_its_line(corpus: Callable[..., str]) -> None:
    lines = list(LINES)
    lines[50] = "a b <eos> c"
    with pytest.raises(ValueError, match="line 51 contains <eos>"):
        TextDataModule(corpus(lines)).setup()


def test_labels_that_are_equal_numbers_keep_one_order(corpus: Callable[..., str]) -> None:
    data = TextDataModule(corpus([f"{('1', '01', '2')[i % 3]}\t{line}" for i, line in enumerate(LINES)]), labelled=True)
    data.setup()
    assert data.label_names == ["01", "1", "2"]


@pytest.mark.parametrize(
    ("options", "unknown"),
    [({"vocab_size": 6}, 2 / 6), ({"tokenization": "bpe"}, 0), ({"split_punctuation": True}, 0)],
)
def test_the_size_of_the_text_does_not_depend_on_its_tokens(
    corpus: Callable[..., str], options: dict[str, Any], unknown: int
) -> None:
    text = ["the  Katze,", "the müde", "hm hm"]
    file = corpus(text)
    data = TextDataModule(file, val=file, test=file, **options)
    data.setup()
    facts = data.split_facts["test"]
    assert facts["num_examples"] == 3
    assert facts["words_per_example"] == (3 + 3 + 3) / 3
    assert facts["characters_per_example"] == (12 + 9 + 6) / 3
    assert facts["bytes_per_example"] == len(Path(file).read_bytes()) / 3
    assert facts["unk_fraction"] == pytest.approx(unknown)


def test_many_unknown_words_are_warned_of(corpus: Callable[..., str]) -> None:
    chinese = [f"今天天气{'很' * (i % 5)}好{i}" for i in range(60)]
    data = TextDataModule(corpus(chinese), max_length=50)
    with pytest.warns(UserWarning, match=r"unknown words: train 0\.0%, val 100\.0%, .* set tokenization to bpe"):
        data.setup()
    with warnings.catch_warnings(action="error"):
        TextDataModule(corpus(chinese), max_length=50, tokenization="bpe").setup()


@pytest.mark.parametrize("tokenization", ["word", "bpe"])
def test_too_long_sentences_are_cut_where_that_is_asked_for(corpus: Callable[..., str], tokenization: str) -> None:
    text = [f"{i} {'日本😀 sehr ' * (i % 3)}end" for i in range(30)]
    file = corpus(text)
    options = {"val": file, "test": file, "max_length": 3, "vocab_size": 300, "tokenization": tokenization}
    data = TextDataModule(file, **options, too_long="truncate")
    with pytest.warns(UserWarning, match=r"train split: 20 of 30 sentences are longer than max_length=3 and cut"):
        data.setup()
    whole = TextDataModule(file, **{**options, "max_length": 99})
    whole.setup()
    assert whole.split_facts["test"]["dropped_fraction"] == 0
    long = int((whole.splits["test"].lengths > 5).sum())
    assert data.split_facts["test"]["truncated_fraction"] == long / 30 > 0
    for tokens, _, ids in data.predict_dataloader():
        assert tokens.shape[1] <= 5
        for row, number in zip(tokens.tolist(), ids.tolist(), strict=True):
            kept = data.vocabulary.decode(row)
            assert "\ufffd" not in kept  # no half characters
            assert text[number].startswith(kept)
