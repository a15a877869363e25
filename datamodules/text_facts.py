"""Statistics of the text of a split, by which models with different tokens can be compared."""

from collections.abc import Mapping, Sequence

from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from datamodules.vocabulary import BOS, EOS, UNK, Vocabulary

NOTABLE = 0.05
"""Fraction of unknown words, or of sentences left out or truncated, above which there is a warning."""


def text_facts(texts: Sequence[str], tokens: Tensor) -> dict[str, float]:
    """The size of a text in units that do not depend on the tokens, and the fraction of unknown tokens.

    The units are counted in the original text of the file, capitals and spaces included, of the sentences that are
    used, and of a truncated one in the part that was kept. The end of a sentence, which a model predicts too, counts as
    one word, one character and one byte, its line feed. So with word tokenization the nats per word are the logarithm
    of the perplexity, and with either tokenization the bytes are those of the file.

    Args:
        texts: The text of each sentence.
        tokens: Token ids of all sentences, with BOS and EOS, (sum of the lengths,).

    Returns:
        unk_fraction: of the tokens without BOS and EOS, those outside the vocabulary;
        words_per_example: strings between spaces, on average;
        characters_per_example: Unicode code points;
        bytes_per_example: in UTF-8.

    Example:
        >>> import torch
        >>> text_facts(["the cat", "die Kuh müht"], torch.tensor([2, 4, 5, 3, 2, 1, 1, 1, 3]))["bytes_per_example"]
        11.0
    """
    words = int(((tokens != BOS) & (tokens != EOS)).sum())
    return {
        "unk_fraction": int((tokens == UNK).sum()) / max(1, words),
        "words_per_example": sum(len(text.split()) + 1 for text in texts) / len(texts),
        "characters_per_example": sum(len(text) + 1 for text in texts) / len(texts),
        "bytes_per_example": sum(len(text.encode()) + 1 for text in texts) / len(texts),
    }


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
