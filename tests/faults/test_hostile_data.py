"""Data that is damaged or made to do harm: one line says what is wrong; no code runs, nothing hangs or swells."""

import gzip
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamodules import OmniglotDataModule, TextDataModule
from datamodules.idx import read_idx
from datamodules.omniglot_sources import Corpus
from datamodules.vocabulary import Vocabulary
from tests.faults.conftest import Inject
from tests.faults.hostile import Bomb, examples, refuses
from tests.faults.mutations import bounded, damaged, edits, thorough

PIXELS = torch.arange(600, dtype=torch.int64).remainder(256).to(torch.uint8).view(6, 10, 10)
IDX = struct.pack(">BBBB3I", 0, 0, 8, 3, 6, 10, 10) + bytes(PIXELS.numpy())


@pytest.mark.parametrize("suffix", ["", ".gz"])
@examples(100, 2500)
def test_damaged_idx(tmp_path: Path, inject: Inject, number: Any, suffix: str) -> None:
    path, whole = tmp_path / f"file{suffix}", gzip.compress(IDX, mtime=0) if suffix else IDX

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        path.write_bytes(damaged(whole, changes))
        found = refuses(inject, f"IDX{suffix}: damaged bytes", lambda: read_idx(path, (6, 10, 10)))
        assert found is None or found.shape == (6, 10, 10)

    check()


def corpus() -> Corpus:
    """Omniglot with two drawings."""
    return Corpus(
        images=np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4),
        characters=np.arange(40) % 2,
        alphabets=np.arange(40) % 2,
        alphabet_names=np.array(["Greek", "Latin"]),
        sizes=np.array([28, 2, 10]),
    )


@examples(100, 2500)
def test_damaged_caches(tmp_path: Path, inject: Inject, number: Any) -> None:
    data = OmniglotDataModule(str(tmp_path), "npz", size=4, binarize="none")
    data._store(corpus())
    path = next(tmp_path.rglob("*.npz"))
    whole, images = path.read_bytes(), torch.from_numpy(corpus().images)

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        path.write_bytes(damaged(whole, changes))
        splits = refuses(inject, "npz: damaged bytes", data.load)
        assert splits is None or torch.cat([split.images for split in splits]).squeeze(1).equal(images)

    check()


@examples(20, 300)
def test_forged_caches(tmp_path: Path, inject: Inject, number: Any) -> None:
    data = OmniglotDataModule(str(tmp_path), "npz", size=4, binarize="none")
    data._store(corpus())
    path = next(tmp_path.rglob("*.npz"))
    arrays = corpus()._asdict()
    other = st.sampled_from(
        [
            *(np.zeros(0), np.zeros((2, 2)), np.array("x"), np.array(7), np.full(3, np.nan), np.arange(3)),
            *(np.zeros((40, 4, 4)), np.array([[1, 2, 3]]), np.array([10**9, 1, 1]), np.array([-1, 40, 1])),
        ]
    )

    @thorough(number)
    @given(st.sampled_from(list(arrays)), other, st.booleans())
    def check(name: str, value: Any, remove: bool) -> None:
        forged = {key: array for key, array in arrays.items() if key != name or not remove}
        np.savez(path, **({**forged, name: value} if not remove else forged))
        refuses(inject, "npz: forged arrays", data.load)

    check()


def test_a_cache_with_code_in_it(tmp_path: Path, inject: Inject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = OmniglotDataModule("data", "npz", size=4, binarize="none")
    data._store(corpus())
    arrays: dict[str, Any] = corpus()._asdict() | {"alphabet_names": np.array([Bomb()], dtype=object)}
    np.savez(next(Path("data").rglob("*.npz")), **arrays)
    with inject("npz with pickled code"), pytest.raises(ValueError, match="is damaged"):
        data.load()
    assert not Path("exploded").exists()


@examples(5, 200)
def test_damaged_matlab_files(tmp_path: Path, inject: Inject, number: Any) -> None:
    """They are compared with the published sum before anything reads them."""
    path = tmp_path / "omniglot/chardata.mat"
    path.parent.mkdir()
    from scipy.io import savemat

    savemat(path, {"data": np.zeros((784, 4))})
    whole = path.read_bytes()

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        path.write_bytes(damaged(whole, changes))
        with inject("mat: damaged bytes"), bounded(), pytest.raises(ValueError, match=r"chardata\.mat is damaged"):
            OmniglotDataModule(str(tmp_path), "chardata", cache_dir=str(tmp_path / "cache")).prepare_data()

    check()


TEXT = "".join(f"the cat number {i} sat on the mat and slept\n" for i in range(40)).encode()


@pytest.mark.parametrize("suffix", ["txt", "txt.gz"])
@examples(60, 2000)
def test_damaged_text(tmp_path: Path, inject: Inject, number: Any, suffix: str) -> None:
    path = tmp_path / f"corpus.{suffix}"
    whole = gzip.compress(TEXT, mtime=0) if suffix.endswith("gz") else TEXT

    def batches() -> None:
        data = TextDataModule(str(path), batch_size=4, vocab_size=50)
        data.setup()
        for tokens, _ in (*data.train_dataloader(), *data.test_dataloader()):
            assert tokens.min() >= 0
            assert tokens.max() < data.vocab_size

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        path.write_bytes(damaged(whole, changes))
        refuses(inject, f"text ({suffix}): damaged bytes", batches)

    check()


def test_a_packed_text_that_unpacks_to_far_more_than_its_size(tmp_path: Path, inject: Inject) -> None:
    path = tmp_path / "corpus.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(bytes(1 << 20))
    with inject("gzip made to fill the memory"), bounded(), pytest.raises(ValueError, match="hundred times its size"):
        TextDataModule(str(path)).setup()


@examples(100, 2500)
def test_damaged_vocabularies(tmp_path: Path, inject: Inject, number: Any) -> None:
    path = tmp_path / "vocabulary.json"
    lines = TEXT.decode().splitlines()
    wholes = [Vocabulary.build(lines, 300, kind).to_json().encode() for kind in ("word", "bpe")]

    def read() -> None:
        vocabulary = Vocabulary.load(path)
        with suppress(ValueError):  # a line may hold a special symbol now
            tokens, _ = vocabulary.encode(["the cat sat", "nothing known"])
            assert tokens.min() >= 0
            assert tokens.max() < len(vocabulary)

    @thorough(number)
    @given(st.sampled_from(wholes), edits)
    def check(whole: bytes, changes: Any) -> None:
        path.write_bytes(damaged(whole, changes))
        refuses(inject, "vocabulary: damaged bytes", read)

    check()


@pytest.mark.parametrize(
    "words",
    [
        {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3, "light": 4_000_000_000},
        {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3, "light": 4, "dark": 6},
        {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 2, "light": 3},
    ],
)
def test_words_whose_numbers_have_gaps_are_refused(tmp_path: Path, inject: Inject, words: dict[str, Any]) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(
        json.dumps({"version": "1.0", "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"}})
    )
    with inject("vocabulary with wrong numbers"), pytest.raises(ValueError, match="is no vocabulary"):
        Vocabulary.load(path)
