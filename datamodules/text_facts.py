"""Statistics of the text of a split, by which models with different tokens can be compared; and the reports on them."""

from collections.abc import Mapping

from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn

from datamodules.piece_encoder import UNK
from datamodules.vocabulary import Vocabulary

NOTABLE = 0.05
"""Fraction of unknown words, or of sentences left out or truncated, above which there is a warning."""


def text_facts(counts: Mapping[str, int], num_examples: int) -> dict[str, float]:
    """The size of a text in units that do not depend on the tokens, and the fraction of unknown tokens.

    The units are counted in the original text of the file, capitals and spaces included, of the sentences that are
    used, and of a truncated one in the part that was kept. The end of a sentence, which a model predicts too, counts as
    one word, one character and one byte, its line feed. So with word tokenization the nats per word are the logarithm
    of the perplexity, and with either tokenization the bytes are those of the file.

    Args:
        counts: Of all sentences, see `datamodules.encoded_lines.EncodedLines`.
        num_examples: The number of sentences.

    Returns:
        unk_fraction: of the tokens without BOS and EOS, those outside the vocabulary;
        words_per_example: strings between spaces, on average;
        characters_per_example: Unicode code points;
        bytes_per_example: in UTF-8.

    Example:
        >>> counts = {"tokens": 5, "unknown": 3, "words": 7, "characters": 21, "bytes": 22}  # the cat; die Kuh müht
        >>> text_facts(counts, 2)["bytes_per_example"]
        11.0
    """
    units = {f"{unit}_per_example": counts[unit] / num_examples for unit in ("words", "characters", "bytes")}
    return {"unk_fraction": counts["unknown"] / max(1, counts["tokens"]), **units}


def report_empty_lines(name: str, num_lines: int, num_empty: int) -> None:
    """Say how many lines of a text are left out because they are empty."""
    if num_empty:
        rank_zero_info(f"{name}: {num_empty} of {num_lines} lines are empty and left out")


def report_long_lines(split: str, num_lines: int, num_long: int, max_length: int | None, truncated: bool) -> None:
    """Say how many sentences of a split are left out or truncated, as a warning if they are many."""
    if num_long:
        report = rank_zero_warn if num_long > NOTABLE * num_lines else rank_zero_info
        report(
            f"{split} split: {num_long} of {num_lines} sentences are longer than max_length={max_length} and "
            f"{'cut there' if truncated else 'left out'} ({num_long / num_lines:.1%})"
            f"{'' if truncated else '; too_long=truncate would keep their beginnings'}"
        )


def warn_of_unknown_words(
    split_facts: Mapping[str, Mapping[str, float]], vocabulary: Vocabulary, full: bool = True
) -> None:
    """Warn if many words are unknown, which makes the perplexity misleadingly low.

    Args:
        split_facts: The facts of each split, by its name.
        vocabulary: The vocabulary of the splits.
        full: Whether a larger vocabulary could hold more words.
    """
    fractions = {name: facts.get("unk_fraction", 0.0) for name, facts in split_facts.items()}
    if max(fractions.values()) > NOTABLE:
        unknown = vocabulary.words[UNK]
        rank_zero_warn(
            f"unknown words: {', '.join(f'{name} {fraction:.1%}' for name, fraction in fractions.items())}; each costs "
            f"no more than the symbol {unknown}, so PPL and nats per word or byte are too low: unless the text itself "
            f"writes {unknown}, {f'raise vocab_size (now {len(vocabulary)}), or ' if full else ''}"
            "set tokenization to bpe, which can encode every text"
        )
