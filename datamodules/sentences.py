"""The base of all data modules of sentences."""

from functools import cached_property, partial
from pathlib import Path

import tokenizers
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from datamodules.buckets import LengthBuckets
from datamodules.corpus_rows import Part
from datamodules.corpus_writer import CorpusOptions, write_corpus
from datamodules.duplicates import report_duplicates
from datamodules.encoded_lines import TooLong
from datamodules.in_memory import InMemoryDataModule, check_sizes
from datamodules.loaders import InMemoryLoader, TrainingLoader
from datamodules.prepared import cache_folders, key_of, prepare
from datamodules.prepared_corpus import VERSION, PreparedCorpus, TokenizedSplit
from datamodules.text_facts import report_empty_lines, report_long_lines, warn_of_unknown_words
from datamodules.tokenizer_building import Normalization, Tokenization, normalizer_of
from datamodules.vocabulary import Vocabulary


class SentenceDataModule(InMemoryDataModule):
    """Sentences or documents, batched by length.

    Batches are `(tokens, label)`: token ids, int64 (B, T), each row `bos w_1 ... w_n eos pad ... pad` with pad 0,
    unknown 1, bos 2 and eos 3, and labels, int64 (B,). Batches to predict from are `(tokens, label, id)` over the test
    split, with id int64 (B,) the line of the file that the split was read or drawn from, counted from 0. The vocabulary
    is built from the training split, or read from a file.

    The text is read and encoded once, in memory that does not grow with it, into memory-mapped files beside the data or
    in a cache folder; from then on a start reads no text, and training no more of the files than its batches.

    A subclass writes `parts`.

    Args:
        vocab_size: Maximum size of the vocabulary, the four special tokens included.
        vocab_file: The vocabulary.json of another run, to be used instead: it decides how text is split, so vocab_size,
            tokenization, lowercase, split_punctuation and normalization are not used, which is reported.
        tokenizer: A tokenizer.json of any library (BPE, WordPiece, Unigram, words), to be used instead in the same way.
            Its special tokens become those here.
        tokenization: word (whatever stands between spaces), bpe (byte pair encoding), or char (characters).
        lowercase: Whether the text is lowercased.
        split_punctuation: Whether punctuation marks are words of their own; with bpe they always are.
        normalization: The form of Unicode that the text is brought to: NFC, NFD, NFKC or NFKD.
        max_length: Maximum length of a sentence in tokens; null for any length.
        too_long: Longer sentences are left out (drop), or only their beginning is used (truncate); either is counted
            and reported.
        batch_size: Maximum number of training sentences per process and step; null for no limit but max_tokens.
        max_tokens: Maximum number of tokens in a batch, padding included; null for no limit but batch_size.
        exact_length: Whether all sentences of a batch have the same length (the authors' batches).
        fixed_batches: Whether a training batch holds the same sentences in every epoch (the authors' batches); else
            sentences of the same length are shuffled.
        eval_batch_size: Maximum number of sentences in a batch of validation, test and prediction.
        train_size: Train on the first train_size sentences only (all by default).
        seed: Seed of the training order.
        cache_dir: Folder for the prepared corpus; by default beside the data if that can be written, else in the user's
            cache.

    Attributes:
        label_names: The name of each label.
        split_facts: By split, what is known of its text, see `datamodules.text_facts`; complete after `setup`.

    Raises:
        ValueError: If an argument is outside its range, or the text cannot be used; says why and where.
        FileNotFoundError: If a file is missing.
    """

    unknown = "<unk>"
    """The symbol by which the corpus itself replaces an unknown word."""
    data_folder: Path | None = None
    """The folder of the files that are read; None if there are none."""
    has_text = True
    """Whether the words and characters are those of a language, and worth counting."""

    def __init__(
        self,
        vocab_size: int = 20_000,
        vocab_file: str | None = None,
        tokenizer: str | None = None,
        tokenization: Tokenization = "word",
        lowercase: bool = False,
        split_punctuation: bool = False,
        normalization: Normalization | None = None,
        max_length: int | None = 200,
        too_long: TooLong = "drop",
        batch_size: int | None = 32,
        max_tokens: int | None = None,
        exact_length: bool = False,
        fixed_batches: bool = False,
        eval_batch_size: int = 32,
        train_size: int | None = None,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        check_sizes(max_length=max_length, batch_size=batch_size, max_tokens=max_tokens)
        check_sizes(eval_batch_size=eval_batch_size, train_size=train_size)
        if batch_size is None and max_tokens is None:
            raise ValueError("batches need a limit: give batch_size, max_tokens, or both")
        if vocab_file is not None and tokenizer is not None:
            raise ValueError("vocab_file and tokenizer both say how text is split: set one of the two")
        normalizer_of(lowercase, normalization)
        if too_long not in ("drop", "truncate"):
            raise ValueError(f"too_long={too_long!r} must be drop or truncate")
        self.max_vocab_size, self.vocab_file, self.tokenization = vocab_size, vocab_file, tokenization
        self.lowercase, self.split_punctuation, self.normalization = lowercase, split_punctuation, normalization
        self.tokenizer = tokenizer
        self.max_length, self.too_long = max_length, too_long
        self.batch_size, self.max_tokens = batch_size, max_tokens
        self.exact_length, self.eval_batch_size = exact_length, eval_batch_size
        self.fixed_batches = fixed_batches
        self.train_size, self.seed = train_size, seed
        self.cache_dir = cache_dir
        self.label_names: list[str] = []

    def parts(self) -> list[Part]:
        """The sources of text, which exist by now, and the splits that they become. Runs on every process."""
        raise NotImplementedError

    def given_vocabulary(self) -> Vocabulary | None:
        """The vocabulary, if it is not that of the training split."""
        if self.tokenizer is not None:
            return Vocabulary.adopt(self.tokenizer)
        return None if self.vocab_file is None else Vocabulary.load(self.vocab_file)

    # -- vocabulary and splits --------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary, special tokens included; prepares the corpus, with no trainer needed."""
        return len(self.vocabulary)

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the training split, or that of `vocab_file`."""
        return self._corpus.vocabulary

    @cached_property
    def splits(self) -> dict[str, TokenizedSplit]:
        """The splits train, val and test as token ids."""
        corpus = self._corpus
        self.label_names = corpus.label_names
        self.split_facts |= {split: dict(known["facts"]) for split, known in corpus.facts.items()}
        for source in corpus.sources:
            report_empty_lines(*source)
        for split, known in corpus.facts.items():
            truncated = self.too_long == "truncate"
            report_long_lines(split, known["num_lines"], known["num_long"], self.max_length, truncated)
        report_duplicates(self.split_facts)
        full = self.vocab_file is None and self.tokenizer is None and self.vocab_size == self.max_vocab_size
        warn_of_unknown_words(self.split_facts, self.vocabulary, full)
        return {split: corpus.split(split) for split in corpus.facts}

    @cached_property
    def _corpus(self) -> PreparedCorpus:
        self.prepare_data()
        parts, given = self.parts(), self.given_vocabulary()
        file = self.vocab_file or self.tokenizer
        if file is not None:
            rank_zero_info(
                f"the vocabulary is that of {file}, {len(given or ()):,} words, and text is split as it says: "
                "vocab_size, tokenization, lowercase, split_punctuation and normalization are not used"
            )
        options = CorpusOptions(
            self.max_vocab_size,
            self.tokenization,
            self.lowercase,
            self.split_punctuation,
            self.unknown,
            self.normalization,
            self.max_length,
            self.too_long,
            self.train_size,
            self.has_text,
        )
        plans = [[part.source.key(), part.split, list(part.drawn.items()), part.seed] for part in parts]
        key = key_of([VERSION, tokenizers.__version__, plans, options, given and given.to_json()])
        folders = cache_folders(self.data_folder and self.data_folder / ".skipvae", self.cache_dir)
        return PreparedCorpus(
            prepare(folders, f"text-{key}", partial(write_corpus, parts=parts, options=options, vocabulary=given))
        )

    # -- batches ----------------------------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        self.splits  # noqa: B018

    def _loader(self, split: str, shuffled: bool = False, with_ids: bool = False) -> InMemoryLoader[tuple[Tensor, ...]]:
        sentences = self.splits[split]

        def fetch(index: Tensor, epoch: int) -> tuple[Tensor, ...]:
            batch = sentences.batch(index), sentences.labels[index]
            return (*batch, sentences.ids[index]) if with_ids else batch

        train = split == "train"
        try:
            batches = LengthBuckets(
                sentences.lengths,
                self.batch_size if train else self.eval_batch_size,
                self.max_tokens,
                self.exact_length and train,
                self.seed if shuffled else None,
                *self._rank_and_world_size,
                self.fixed_batches,
            )
        except ValueError as error:
            raise ValueError(f"{split} split: {error}") from error
        return TrainingLoader(fetch, batches) if shuffled else InMemoryLoader(fetch, batches)
