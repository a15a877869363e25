from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from datamodules.piece_encoder import UNK
from datamodules.vocabulary import Vocabulary

LINES = ["the cat saw the dog", "the dog saw <unk>", "a Cat, a hat"]


def test_words_are_numbered_by_frequency_after_the_special_symbols() -> None:
    vocabulary = Vocabulary.build(LINES, max_size=7)
    assert vocabulary.words[:5] == ["<pad>", "<unk>", "<bos>", "<eos>", "the"]
    assert len(vocabulary) == 7
    assert vocabulary.encode(["<unk> hat"])[0].tolist() == [2, UNK, UNK, 3]


def test_the_corpus_may_write_unknown_words_in_its_own_way() -> None:
    vocabulary = Vocabulary.build(["_UNK _UNK _UNK cat"], unknown="_UNK")
    assert vocabulary.words == ["<pad>", "_UNK", "<bos>", "<eos>", "cat"]
    assert vocabulary.encode(["_UNK dog"])[0].tolist() == [2, 1, 1, 3]


def test_capitals_and_punctuation() -> None:
    vocabulary = Vocabulary.build(LINES[::2], lowercase=True, split_punctuation=True)
    tokens, lengths = vocabulary.encode(["A CAT, the hat"])
    assert lengths.tolist() == [7]
    assert vocabulary.decode(tokens.tolist()) == "a cat , the hat"


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_a_saved_vocabulary_is_the_same(tmp_path: Path, kind: str) -> None:
    vocabulary = Vocabulary.build(LINES * 3, max_size=300, kind=kind)
    (tmp_path / "v.json").write_text(vocabulary.to_json(), encoding="utf-8")
    loaded = Vocabulary.load(tmp_path / "v.json")
    assert loaded.to_json() == vocabulary.to_json() == Vocabulary.build(LINES * 3, 300, kind).to_json()
    tokens, lengths = loaded.encode(LINES)
    assert [loaded.decode(part.tolist()) for part in np.split(tokens, lengths.cumsum()[:-1])] == LINES


def test_byte_pairs_know_every_text() -> None:
    vocabulary = Vocabulary.build(LINES, max_size=270, kind="bpe")
    tokens, _ = vocabulary.encode(["schöne Grüße, 世界!"])
    assert UNK not in tokens
    assert vocabulary.decode(tokens.tolist()) == "schöne Grüße, 世界!"


def test_special_symbols_in_the_text_are_refused() -> None:
    with pytest.raises(ValueError, match="line 2 contains <eos>"):
        Vocabulary.build(LINES).encode(["the cat", "the <eos> cat", "dog"])
    with pytest.raises(ValueError, match="line 8 contains <eos>"):
        Vocabulary.build(LINES).encode(["the cat", "the <eos> cat", "dog"], line_numbers=[3, 7, 0])


@pytest.mark.parametrize(
    ("unknown", "options"), [("<unk>", {"split_punctuation": True}), ("_UNK", {"lowercase": True})]
)
def test_options_that_would_turn_unknown_words_into_known_ones_are_refused(
    unknown: str, options: dict[str, Any]
) -> None:
    lines = [*LINES[::2], f"the {unknown} sat"]
    with pytest.raises(ValueError, match=f"writes {unknown} for unknown words"):
        Vocabulary.build(lines, unknown=unknown, **options)
    Vocabulary.build(LINES[::2], unknown=unknown, **options)
    tokens, _ = Vocabulary.build(lines, unknown=unknown).encode(lines[-1:])
    assert tokens[2] == UNK


def test_bad_vocabularies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vocab_size=4 must be above 4"):
        Vocabulary.build(LINES, max_size=4)
    with pytest.raises(FileNotFoundError, match=r"vocabulary\.json"):
        Vocabulary.load(tmp_path / "none.json")
    for content in ("{}", "no JSON"):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(ValueError, match="no vocabulary"):
            Vocabulary.load(tmp_path / "bad.json")


@pytest.mark.parametrize("options", [{}, {"lowercase": True}, {"split_punctuation": True, "lowercase": True}])
@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_fast_encoding_is_that_of_the_library(kind: Any, options: dict[str, Any]) -> None:
    random = Random(0)
    signs = [" "] * 8 + [
        *"aábBΣ日😀'12.,!-()\t\u3000\u00a0\u0085",
        "'s",
        "  ",
        "   ",
        "<eos",
        "<unk>",
        "don't",
        "Straße",
    ]
    texts = ["".join(random.choices(signs, k=random.randint(0, 40))) for _ in range(2000)]
    known = [text.replace("<unk>", "") for text in texts]
    vocabulary = Vocabulary.build(known, 500, kind, **options)
    tokens, lengths = vocabulary.encode(texts)
    wanted = [encoding.ids for encoding in vocabulary._tokenizer.encode_batch_fast(texts)]
    assert lengths.tolist() == [len(ids) + 2 for ids in wanted]
    assert tokens.tolist() == [token for ids in wanted for token in (2, *ids, 3)]
