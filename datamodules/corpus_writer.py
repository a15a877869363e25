"""The preparation of a corpus: from texts to files of token ids, in memory that does not grow with the text.

The texts are read two or three times: to see that they can be used, and which row belongs to which split; to count the
words, unless the vocabulary is given; and to encode them. Of each row, nothing but a few integers is kept.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.class_order import in_order
from datamodules.corpus_rows import SPLITS, Part, PartRows, SomeRows, changed
from datamodules.duplicates import duplicate_fractions
from datamodules.encoded_lines import EncodedLines, TooLong, encode_lines
from datamodules.in_memory import check_train_size
from datamodules.line_bar import LARGE, LineBar
from datamodules.prepared_corpus import FACTS, INDEX, TOKENS, VOCABULARY, array_file
from datamodules.text_facts import text_facts
from datamodules.tokenizer_building import Normalization, Tokenization, count_words
from datamodules.vocabulary import Vocabulary
from datamodules.workers import Workers, num_cores


class CorpusOptions(NamedTuple):
    """Whatever decides on the token ids of given texts; see `SentenceDataModule`."""

    vocab_size: int
    tokenization: Tokenization
    lowercase: bool
    split_punctuation: bool
    unknown: str
    normalization: Normalization | None
    max_length: int | None
    too_long: TooLong
    train_size: int | None
    has_text: bool


def write_corpus(
    folder: Path,
    parts: Sequence[Part],
    options: CorpusOptions,
    vocabulary: Vocabulary | None = None,
    num_workers: int | None = None,
) -> None:
    """Write the files that `prepared_corpus` reads.

    Args:
        folder: An empty folder for them.
        parts: The texts; each split is in one of them.
        options: How they become token ids.
        vocabulary: The vocabulary, if it is not that of the training split.
        num_workers: Number of processes; by default one for each core if there is enough work, else none.

    Raises:
        OSError: If the disk is full.
        ValueError: If the texts cannot be used; says why and where.
    """
    keys, codes = [part.source.key() for part in parts], dict[str, int]()
    with LineBar() as bar, ExitStack() as stack:
        bar.start("reading text")
        rows = [PartRows(part, codes, bar.count(part.source.blocks())) for part in parts]
        _limit(rows, options.train_size)
        total = sum(part.num_lines for part in rows)
        if num_workers is None:
            num_workers = num_cores() if total >= LARGE else 0
        workers = stack.enter_context(Workers(num_workers))
        if vocabulary is None:
            bar.start("building the vocabulary", total)
            vocabulary = _vocabulary_of(rows, options, workers, bar)
        (folder / VOCABULARY).write_text(vocabulary.to_json(), encoding="utf-8")
        bar.start("encoding text", total)
        splits = {split: stack.enter_context(_SplitWriter(folder, split)) for split in SPLITS}
        for part in rows:
            for (split, some), encoded in workers.map(encode_lines, _jobs(folder, part, options, bar)):
                splits[split].add(some, encoded)
    for part, key in zip(rows, keys, strict=True):
        if part.source.key() != key:
            raise changed(part.source)
    label_names, label_ids = _labels(rows, codes)
    facts: dict[str, Any] = {"label_names": label_names, "sources": [], "splits": {}}
    for part in rows:
        facts["sources"].append([part.source.name, part.num_lines, part.num_lines - len(part)])
        for split in part.rows_of:
            facts["splits"][split] = splits[split].finish(part, label_ids, options)
    hashes = {split: np.concatenate(splits[split].hashes) for split in SPLITS}
    for split, fraction in duplicate_fractions(**hashes).items():
        facts["splits"][split]["facts"]["duplicate_fraction"] = fraction
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _limit(rows: Sequence[PartRows], train_size: int | None) -> None:
    """Train on the first sentences only."""
    for part in rows:
        if train_size is not None and "train" in part.rows_of:
            check_train_size(train_size, len(part.rows_of["train"]))
            part.rows_of["train"] = part.rows_of["train"][:train_size]


def _vocabulary_of(rows: Sequence[PartRows], options: CorpusOptions, workers: Workers, bar: LineBar) -> Vocabulary:
    """The vocabulary of the training split."""
    (part,) = (part for part in rows if "train" in part.rows_of)
    texts = (texts for _, _, texts in part.texts(bar.count(part.source.blocks()), ["train"]))
    choices: dict[str, Any] = {
        "max_size": options.vocab_size,
        "lowercase": options.lowercase,
        "split_punctuation": options.split_punctuation,
        "unknown": options.unknown,
        "normalization": options.normalization,
    }
    if options.tokenization != "word":  # the library counts with threads of its own
        return Vocabulary.build((text for some in texts for text in some), kind=options.tokenization, **choices)
    counts: Counter[str] = Counter()
    for _, some_counts in workers.map(count_words, ((None, (some,)) for some in texts)):
        counts.update(some_counts)
    return Vocabulary.of_words(counts, **choices)


def _jobs(folder: Path, part: PartRows, options: CorpusOptions, bar: LineBar) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The jobs of encoding a part; their tags are the split and the rows."""
    for split, rows, texts in part.texts(bar.count(part.source.blocks())):
        numbers = part.line_numbers[rows]
        yield (split, rows), (folder / VOCABULARY, split, texts, numbers, options.max_length, options.too_long)


def _labels(rows: Sequence[PartRows], codes: Mapping[str, int]) -> tuple[list[str], NDArray[np.int64]]:
    """The sorted names of the labels that occur in the splits, and the id by each code; for code -1, the last, -1."""
    used = {code for part in rows for order in part.rows_of.values() for code in np.unique(part.labels[order]).tolist()}
    names = {name for name, code in codes.items() if code in used}
    ordered = in_order(names)
    ids = np.full(len(codes) + 1, -1)
    ids[[codes[name] for name in ordered]] = np.arange(len(ordered))
    return ordered, ids


class _SplitWriter:
    """The files of a split; a context manager, within which sentences are added.

    Attributes:
        hashes: Of the texts of the sentences, int64.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self._folder, self._split = folder, split
        self._tokens = array_file(folder, split, "tokens").open("wb")
        self._rows: list[SomeRows] = []
        self._lengths: list[NDArray[np.int64]] = []
        self.hashes: list[NDArray[np.int64]] = []
        self._counts: Counter[str] = Counter()

    def add(self, rows: SomeRows, encoded: EncodedLines) -> None:
        """Add the sentences of these rows of the part, int64 (n,)."""
        self._tokens.write(encoded.tokens.astype(TOKENS).data)
        self._rows.append(rows[encoded.rows])
        self._lengths.append(encoded.lengths)
        self.hashes.append(encoded.hashes)
        self._counts.update(encoded.counts)

    def finish(self, part: PartRows, label_ids: NDArray[np.int64], options: CorpusOptions) -> dict[str, Any]:
        """Write where each sentence is, in the order of the split, and return the facts about the split."""
        order, rows, lengths = part.rows_of[self._split], np.concatenate(self._rows), np.concatenate(self._lengths)
        if not len(rows):
            raise ValueError(
                f"{self._split} split: no sentence has at most max_length={options.max_length} words: raise it, or "
                "set too_long to truncate"
            )
        position_of = np.full(len(part), -1)
        position_of[rows] = np.arange(len(rows))
        positions = position_of[order]
        positions = positions[positions >= 0]
        rows = rows[positions]
        arrays = {
            "starts": (lengths.cumsum() - lengths)[positions],
            "lengths": lengths[positions],
            "labels": label_ids[part.labels[rows]],
            "ids": part.line_numbers[rows],
        }
        for name, array in arrays.items():
            with array_file(self._folder, self._split, name).open("wb") as file:
                file.write(array.astype(INDEX).data)
        fraction = "truncated_fraction" if options.too_long == "truncate" else "dropped_fraction"
        facts = {"num_examples": len(rows), fraction: self._counts["long"] / len(order)}
        if options.has_text:
            facts |= text_facts(self._counts, len(rows))
        return {
            "num_lines": len(order),
            "num_long": self._counts["long"],
            "num_tokens": int(lengths.sum()),
            "facts": facts,
        }

    def __enter__(self) -> "_SplitWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._tokens.close()
