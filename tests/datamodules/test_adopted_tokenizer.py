"""Tokenizers of other libraries: text is cut and put together as they do it, by the ids that are agreed on here."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from datamodules import TextDataModule
from datamodules.piece_encoder import UNK
from datamodules.vocabulary import Vocabulary

LINES = ["The cat sat on the mat.", "Die Kuh müht sich, sehr!", "the cats' hats  are red"] * 4
UNSEEN = "a cat\tmüht 世 on  <mask>  the red hat"


def byte_level() -> tuple[Tokenizer, Any]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])


def word_piece() -> tuple[Tokenizer, Any]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return tokenizer, trainers.WordPieceTrainer(vocab_size=80, special_tokens=special)


def unigram() -> tuple[Tokenizer, Any]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    return tokenizer, trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>")


def byte_fallback() -> tuple[Tokenizer, Any]:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    return tokenizer, trainers.BpeTrainer(vocab_size=320, special_tokens=special[:3], initial_alphabet=[])


def words() -> tuple[Tokenizer, Any]:
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer, trainers.WordLevelTrainer(vocab_size=80, special_tokens=["[UNK]"])


KINDS = [byte_level, word_piece, unigram, byte_fallback, words]


def trained(make: Any, path: Path) -> Tokenizer:
    tokenizer, trainer = make()
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.add_tokens([AddedToken("red hat", normalized=False)])
    if make is word_piece:
        around = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
        tokenizer.post_processor = around
        tokenizer.enable_truncation(3)
        tokenizer.enable_padding(length=9)
    tokenizer.save(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_text_is_cut_and_decoded_as_by_the_tokenizer(tmp_path: Path, make: Any) -> None:
    original = trained(make, tmp_path / "tokenizer.json")
    vocabulary = Vocabulary.adopt(tmp_path / "tokenizer.json")
    assert [*vocabulary.words[:1], *vocabulary.words[2:4]] == ["<pad>", "<bos>", "<eos>"]
    assert len(set(vocabulary.words)) == len(vocabulary) <= original.get_vocab_size() + 4
    unknown = {original.token_to_id(name) for name in ("<unk>", "[UNK]")}
    for text in [*LINES, UNSEEN, "世界", "red hats"]:
        expected = original.encode(text, add_special_tokens=False)
        (bos, *ids, eos), lengths = vocabulary.encode([text])[0].tolist(), vocabulary.encode([text])[1]
        assert (bos, eos, lengths.tolist()) == (2, 3, [len(ids) + 2])
        if "<mask>" not in text:
            known = [number for number in expected.ids if number not in unknown]
            assert [vocabulary.words[i] for i in ids if i != UNK] == [original.id_to_token(i) for i in known]
            assert ids.count(UNK) == len(expected.ids) - len(known)
        if UNK not in ids:
            assert vocabulary.decode([2, *ids, 3, 0]) == original.decode(expected.ids)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.encode(LINES)[0].tolist() == vocabulary.encode(LINES)[0].tolist()
    (tmp_path / "again.json").write_text(vocabulary.to_json(), encoding="utf-8")
    assert Vocabulary.adopt(tmp_path / "again.json").encode(LINES)[0].tolist() == vocabulary.encode(LINES)[0].tolist()


def test_a_corpus_is_read_by_it(tmp_path: Path) -> None:
    trained(unigram, tmp_path / "tokenizer.json")
    (tmp_path / "a.txt").write_text("\n".join(f"the cat sat on {n} mats" for n in range(30)))
    data = TextDataModule(str(tmp_path / "a.txt"), tokenizer=str(tmp_path / "tokenizer.json"), max_length=None)
    data.setup()
    tokens, _ = next(iter(data.val_dataloader()))
    assert data.vocabulary.decode(tokens[0].tolist()).startswith("the cat sat on")
    assert data.vocab_size == len(Vocabulary.adopt(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model": {"vocab": 3}}'])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json cannot be used as a tokenizer"):
        Vocabulary.adopt(tmp_path / "tokenizer.json")
    with pytest.raises(FileNotFoundError, match="there is no tokenizer"):
        Vocabulary.adopt(tmp_path / "other.json")


def test_characters() -> None:
    vocabulary = Vocabulary.build(["ab a\u0301", "ba\n"], kind="char", normalization="NFC", lowercase=True)
    assert vocabulary.words == ["<pad>", "<unk>", "<bos>", "<eos>", "a", "b", "\n", " ", "á"]
    assert vocabulary.encode(["Á a\u0301x b"])[0].tolist() == [2, 8, 7, 8, 1, 7, 5, 3]
    assert vocabulary.decode([2, 8, 7, 4, 5, 3]) == "á ab"
    plain = Vocabulary.build(["ab a"], kind="char")
    assert plain.encode(["a b"])[0].tolist() == [2, 4, 5, 6, 3]
    assert json.loads(plain.to_json())["normalizer"] is None


@pytest.mark.parametrize("kind", ["word", "bpe", "char"])
def test_normalized_text_is_one_text(kind: Any) -> None:
    lines = ["une café ﬁne", "une cafe\u0301 fine"]
    vocabulary = Vocabulary.build(lines, 300, kind, normalization="NFKC")
    tokens, lengths = vocabulary.encode(lines)
    first, second = tokens[: lengths[0]].tolist(), tokens[lengths[0] :].tolist()
    assert first == second
    assert UNK not in first
    assert vocabulary.decode(first) == "une café fine"
