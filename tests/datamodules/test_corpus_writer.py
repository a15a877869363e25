"""A corpus is prepared once, the same way by any number of processes, and is refused when it is damaged."""

import logging
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest

from datamodules import TextDataModule, corpus_writer, text_stream
from datamodules.lines import TextFile
from datamodules.workers import Workers
from tests.command_line import contents

LINES = [f"w{number % 30} has {'very ' * (number % 7)}Few words, {number % 3}" for number in range(300)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus.txt").write_text("\n\n".join(f"{('odd', 'even')[len(line) % 2]}\t{line}" for line in LINES))
    return tmp_path / "corpus.txt"


def prepared(corpus: Path, **options: Any) -> TextDataModule:
    data = TextDataModule(str(corpus), **{"labelled": True, "batch_size": 8, "max_length": 9, **options})
    data.setup()
    return data


@pytest.mark.filterwarnings("ignore:.* sentences are longer", "ignore:unknown words")
@pytest.mark.parametrize("options", [{"vocab_size": 30}, {"tokenization": "bpe", "vocab_size": 300, "lowercase": True}])
def test_any_number_of_processes_prepares_the_same(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    alone = prepared(corpus, cache_dir=str(tmp_path / "alone"), **options)
    monkeypatch.setattr(text_stream, "BLOCK", 500)
    monkeypatch.setattr(corpus_writer, "LARGE", 100)
    monkeypatch.setattr(corpus_writer, "num_cores", lambda: 2)
    together = prepared(corpus, cache_dir=str(tmp_path / "together"), **options)
    assert together.split_facts == alone.split_facts
    written = contents(tmp_path / "alone")
    assert len(written) == 2 + 3 * 5
    assert contents(tmp_path / "together") == written


def test_the_second_start_reads_no_text_and_repeats_what_matters(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    warned = []
    for start in range(2):
        caplog.clear()
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            data = prepared(corpus, vocab_size=12, max_length=8)
        warned.append([str(warning.message) for warning in found])
        assert "corpus.txt: 299 of 599 lines are empty and left out" in caplog.text
        assert "examples are also in the training split" in caplog.text
        monkeypatch.setattr(TextFile, "blocks", None)  # must not be read again
        assert data.vocab_size == 12
        assert start == 1 or data.label_names == ["even", "odd"]
    assert warned[0] == warned[1]
    assert [message.split(":")[0] for message in warned[0]] == [
        *(f"{split} split" for split in ("train", "val", "test")),
        "unknown words",
    ]
    monkeypatch.undo()
    corpus.write_text(corpus.read_text() + "\nodd\tanother line")
    assert len(prepared(corpus, vocab_size=99, max_length=99).splits["train"].ids) == 301 - 2 * 30


def test_a_damaged_cache_is_named(corpus: Path) -> None:
    data = prepared(corpus)
    (folder,) = (corpus.parent / ".skipvae").iterdir()
    for name in ("train-tokens.bin", "test-ids.bin", "facts.json", "vocabulary.json"):
        whole = (folder / name).read_bytes()
        for damaged in (whole[:-9], b""):
            (folder / name).write_bytes(damaged)
            with pytest.raises(ValueError, match=r"is damaged .* delete it, and it is made anew"):
                prepared(corpus)
        (folder / name).write_bytes(whole)
    assert prepared(corpus).split_facts == data.split_facts


def test_a_text_that_changes_while_it_is_read_is_refused(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, whole = TextFile.blocks, corpus.read_text()
    for change in ("\nodd\tlate", None):

        def changing(self: TextFile, change: str | None = change) -> Any:
            yield from blocks(self)
            corpus.write_text(whole + change if change else whole[: len(whole) // 2])

        monkeypatch.setattr(TextFile, "blocks", changing)
        with pytest.raises(ValueError, match="was changed while it was read"):
            prepared(corpus)
        assert not list((corpus.parent / ".skipvae").iterdir())
        corpus.write_text(whole)


def test_processes_answer_in_order_and_pass_errors_on() -> None:
    with Workers(2) as workers:
        assert list(workers.map(int, ((n, (str(n),)) for n in range(50)))) == [(n, n) for n in range(50)]
        with pytest.raises(ValueError, match="invalid literal"):
            list(workers.map(int, [(None, ("x",))]))
        ((_, modules),) = workers.map(eval, [(None, ("set(__import__('sys').modules)",))])
        assert "datamodules.workers" in modules
        assert not modules & {"torch", "pytorch_lightning"}  # they take seconds to start with
        with pytest.raises(ChildProcessError, match="ended by itself"):
            list(workers.map(os.kill, ((None, (process.pid, signal.SIGKILL)) for process in workers._processes)))
