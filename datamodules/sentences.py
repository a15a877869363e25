"""Sentences in memory: what every text data module shares."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from datamodules.batches import InMemoryLoader, ResumableDataModule, TrainingLoader
from datamodules.buckets import LengthBuckets
from datamodules.duplicates import duplicate_fractions
from datamodules.lines import Lines
from datamodules.text_facts import NOTABLE, text_facts, warn_of_unknown_words
from datamodules.vocabulary import PAD, Vocabulary


class Sentences(NamedTuple):
    """One split: all sentences, one after the other."""

    tokens: Tensor  # int32 (sum of the lengths,)
    starts: Tensor  # int64 (N,), the place of each sentence's start symbol
    lengths: Tensor  # int64 (N,), with start and end symbol
    labels: Tensor  # int64 (N,); -1 where there are none
    ids: Tensor  # int64 (N,), the line of each in its file

    def batch(self, index: Tensor) -> Tensor:
        """The sentences `index` (B,), padded: int64 (B, T)."""
        lengths = self.lengths[index].unsqueeze(1)
        steps = torch.arange(int(lengths.max()))
        beyond = steps >= lengths
        places = (self.starts[index].unsqueeze(1) + steps).masked_fill_(beyond, 0)
        return self.tokens[places].long().masked_fill_(beyond, PAD)


class SentenceDataModule(ResumableDataModule):
    """Sentences or documents in memory, batched by length.

    Batches are `(tokens, label)`: int64 (B, T), each row `bos w_1 ... w_n eos pad ... pad` with pad 0, unknown 1, bos 2
    and eos 3, and int64 (B,). Batches to predict from are `(tokens, label, id)` over the test split, with id int64 (B,)
    the line of the file that the split was read or drawn from, counted from 0. The vocabulary is that of the training
    split, or of a file.

    A subclass writes `read`.

    Args:
        vocab_size: Words of the vocabulary at most, the four special symbols included.
        vocab_file: The vocabulary.json of another run, to be used instead: it says how text is split, so vocab_size,
            tokenization, lowercase and split_punctuation are not used, which is reported.
        tokenization: word (what stands between spaces) or bpe (byte pairs).
        lowercase: Whether capitals count as small letters.
        split_punctuation: Whether punctuation marks are words of their own; byte pairs part them anyway.
        max_length: Words of the longest sentence (byte pairs, where these are the tokens).
        too_long: Longer ones are left out (drop), or only their beginning is read, as if it were the whole (truncate);
            either is counted and reported.
        batch_size: Most training sentences per process and step; null leaves it to max_tokens.
        max_tokens: Most tokens, pads included, of a batch; null leaves it to batch_size.
        exact_length: Whether the sentences of a batch are all equally long (the authors' batches).
        fixed_batches: Whether a training batch holds the same sentences in every epoch (the authors' batches); else
            only their lengths stay.
        eval_batch_size: Most sentences in a batch of validation, test and prediction.
        train_size: Train on the first so many sentences only (all by default).
        seed: Of the training order.

    Attributes:
        label_names: The labels by their numbers.
        split_facts: By split, what is known of its text, see `datamodules.text_facts`; there after `setup`.

    Raises:
        ValueError: If an argument is outside its range, or the text cannot be used; says why and where.
        FileNotFoundError: If a file is missing.
    """

    unknown = "<unk>"
    """How the corpus itself writes an unknown word."""
    has_text = True
    """Whether people wrote it, so that its words and characters are worth counting."""

    def __init__(
        self,
        vocab_size: int = 20_000,
        vocab_file: str | None = None,
        tokenization: Literal["word", "bpe"] = "word",
        lowercase: bool = False,
        split_punctuation: bool = False,
        max_length: int = 200,
        too_long: Literal["drop", "truncate"] = "drop",
        batch_size: int | None = 32,
        max_tokens: int | None = None,
        exact_length: bool = False,
        fixed_batches: bool = False,
        eval_batch_size: int = 32,
        train_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, size in {
            "max_length": max_length,
            "batch_size": batch_size,
            "max_tokens": max_tokens,
            "eval_batch_size": eval_batch_size,
            "train_size": train_size,
        }.items():
            if size is not None and size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if batch_size is None and max_tokens is None:
            raise ValueError("batches need a limit: give batch_size, max_tokens, or both")
        if too_long not in ("drop", "truncate"):
            raise ValueError(f"too_long={too_long!r} must be drop or truncate")
        self.max_vocab_size, self.vocab_file, self.tokenization = vocab_size, vocab_file, tokenization
        self.lowercase, self.split_punctuation = lowercase, split_punctuation
        self.max_length, self.too_long = max_length, too_long
        self.batch_size, self.max_tokens = batch_size, max_tokens
        self.exact_length, self.eval_batch_size = exact_length, eval_batch_size
        self.fixed_batches = fixed_batches
        self.train_size, self.seed = train_size, seed
        self.label_names: list[str] = []
        self.split_facts: dict[str, dict[str, float]] = {}

    def read(self) -> tuple[Lines, Lines, Lines]:
        """The texts for training, validation and test, from files that are there by now. Runs on every process."""
        raise NotImplementedError

    # -- what is in it ----------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """The words of the vocabulary, special symbols included; reads the corpus, with no trainer needed."""
        return len(self.vocabulary)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the training split, or that of `vocab_file`."""
        if self.vocab_file is not None:
            vocabulary = Vocabulary.load(self.vocab_file)
            rank_zero_info(
                f"the vocabulary is that of {self.vocab_file}, {len(vocabulary):,} words, split as its run did: "
                "vocab_size, tokenization, lowercase and split_punctuation are not used"
            )
            return vocabulary
        return Vocabulary.build(
            self._lines[0].texts,
            self.max_vocab_size,
            self.tokenization,
            lowercase=self.lowercase,
            split_punctuation=self.split_punctuation,
            unknown=self.unknown,
        )

    @cached_property
    def splits(self) -> dict[str, Sentences]:
        """The splits train, val and test, as numbers."""
        names = {label for lines in self._lines for label in lines.labels or ()}
        numbers = all(map(str.isdecimal, names))
        self.label_names = sorted(names, key=lambda name: (int(name), name) if numbers else name)
        splits, texts = {}, []
        for name, lines in zip(("train", "val", "test"), self._lines, strict=True):
            splits[name], used = self._encode(name, lines)
            texts.append(used)
        for name, fraction in duplicate_fractions(*texts).items():
            self.split_facts[name]["duplicate_fraction"] = fraction
        del self._lines
        full = self.vocab_file is None and self.vocab_size == self.max_vocab_size
        warn_of_unknown_words(self.split_facts, self.vocabulary, full)
        return splits

    @cached_property
    def _lines(self) -> tuple[Lines, Lines, Lines]:
        self.prepare_data()
        train, val, test = self.read()
        if self.train_size is not None:
            if self.train_size > len(train.texts):
                raise ValueError(
                    f"train_size={self.train_size} is more than the {len(train.texts)} training sentences: "
                    "take fewer, or null for all"
                )
            train = train.take(torch.arange(self.train_size))
        return train, val, test

    def _encode(self, name: str, lines: Lines) -> tuple[Sentences, Sequence[str]]:
        """A split, and the texts that it is made of: none of those left out, of the others what was kept."""
        tokens, lengths = self._token_ids(name, lines)
        too_long = lengths > self.max_length + 2
        if too_long.any():
            lines = self._shortened(name, lines, too_long)
            tokens, lengths = self._token_ids(name, lines)
        shortened = "truncated_fraction" if self.too_long == "truncate" else "dropped_fraction"
        self.split_facts[name] = {"num_examples": len(lengths), shortened: int(too_long.sum()) / len(too_long)}
        if self.has_text:
            self.split_facts[name] |= text_facts(lines.texts, tokens)
        numbers = {label: number for number, label in enumerate(self.label_names)}
        labels = (
            torch.full_like(lengths, -1) if lines.labels is None else torch.tensor([numbers[i] for i in lines.labels])
        )
        ids = torch.arange(len(lengths)) if lines.places is None else lines.places
        return Sentences(tokens, lengths.cumsum(0) - lengths, lengths, labels, ids), lines.texts

    def _token_ids(self, name: str, lines: Lines) -> tuple[Tensor, Tensor]:
        try:
            return self.vocabulary.encode(lines.texts, lines.places)
        except ValueError as error:
            raise ValueError(f"{name} split: {error}") from error

    def _shortened(self, name: str, lines: Lines, too_long: Tensor) -> Lines:
        """The lines without those that are too long, or with only their beginnings; too_long is bool (N,)."""
        number = int(too_long.sum())
        report = rank_zero_warn if number > NOTABLE * len(too_long) else rank_zero_info
        report(
            f"{name} split: {number} of {len(too_long)} sentences are longer than max_length={self.max_length} and "
            f"{'cut there' if self.too_long == 'truncate' else 'left out'} ({number / len(too_long):.1%})"
            f"{'' if self.too_long == 'truncate' else '; too_long=truncate would keep their beginnings'}"
        )
        if self.too_long == "drop":
            if too_long.all():
                raise ValueError(
                    f"{name} split: no sentence has at most max_length={self.max_length} words: raise it, or set "
                    "too_long to truncate"
                )
            return lines.take((~too_long).nonzero().squeeze(1))
        texts = list(lines.texts)
        rows = too_long.nonzero().squeeze(1).tolist()
        shortened = self.vocabulary.truncate([texts[row] for row in rows], self.max_length)
        for row, text in zip(rows, shortened, strict=True):
            texts[row] = text
        return lines._replace(texts=texts)

    # -- batches ----------------------------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        self.splits  # noqa: B018

    def train_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        # Lightning promises the same batches in each epoch to those who ask for an overfit
        seed = None if getattr(self.trainer, "overfit_batches", 0) else self.seed
        batches = self._batches("train", self.batch_size, seed, self.exact_length)
        fetch = self._fetch("train")
        return InMemoryLoader(fetch, batches) if seed is None else self.from_position(TrainingLoader(fetch, batches))

    def val_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        return self._eval_dataloader("val")

    def test_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        return self._eval_dataloader("test")

    def predict_dataloader(self) -> InMemoryLoader[tuple[Tensor, ...]]:
        return self._eval_dataloader("test", with_ids=True)

    def _eval_dataloader(self, split: str, with_ids: bool = False) -> InMemoryLoader[tuple[Tensor, ...]]:
        return InMemoryLoader(self._fetch(split, with_ids), self._batches(split, self.eval_batch_size))

    def _batches(
        self, split: str, batch_size: int | None, seed: int | None = None, exact: bool = False
    ) -> LengthBuckets:
        process = (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
        try:
            return LengthBuckets(
                self.splits[split].lengths, batch_size, self.max_tokens, exact, seed, *process, self.fixed_batches
            )
        except ValueError as error:
            raise ValueError(f"{split} split: {error}") from error

    def _fetch(self, split: str, with_ids: bool = False) -> Callable[[Tensor, int], tuple[Tensor, ...]]:
        sentences = self.splits[split]

        def fetch(index: Tensor, epoch: int) -> tuple[Tensor, ...]:
            batch = sentences.batch(index), sentences.labels[index]
            return (*batch, sentences.ids[index]) if with_ids else batch

        return fetch
