"""A corpus that was prepared: token ids in memory-mapped files, the vocabulary, and what is known of the text."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.corpus_rows import SPLITS
from datamodules.piece_encoder import PAD
from datamodules.vocabulary import Vocabulary

VERSION = 1
"""Of what is stored; a change in it is a new version."""
TOKENS, INDEX = "<i4", "<i8"
"""The types of the token ids and of all other arrays: flat, without a header."""
VOCABULARY, FACTS = "vocabulary.json", "facts.json"


class TokenizedSplit(NamedTuple):
    """The N sentences of a split, in memory-mapped files."""

    tokens: Tensor  # int32 (sum of the lengths,)
    starts: Tensor  # int64 (N,), the index of each sentence's BOS in `tokens`
    lengths: Tensor  # int64 (N,), with BOS and EOS
    labels: Tensor  # int64 (N,); -1 where there are none
    ids: Tensor  # int64 (N,), the line of each in its file

    def batch(self, index: Tensor) -> Tensor:
        """The sentences `index` (B,), padded: int64 (B, T)."""
        lengths = self.lengths[index].unsqueeze(1)
        steps = torch.arange(int(lengths.max()))
        padding = steps >= lengths
        positions = (self.starts[index].unsqueeze(1) + steps).masked_fill_(padding, 0)
        return self.tokens[positions].long().masked_fill_(padding, PAD)


class PreparedCorpus:
    """The content of a folder that `write_corpus` wrote.

    Args:
        folder: The folder.

    Attributes:
        vocabulary: The vocabulary.
        label_names: The name of each label.
        sources: Of each text its name, the number of lines and how many of them are empty.
        facts: By split, the number of its lines (num_lines), of those that are too long (num_long), of its tokens
            (num_tokens), and the entry of `split_facts` (facts).

    Raises:
        ValueError: If files are damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            self.label_names: list[str] = facts["label_names"]
            self.sources: list[tuple[str, int, int]] = facts["sources"]
            self.facts: Mapping[str, Mapping[str, Any]] = {split: facts["splits"][split] for split in SPLITS}
            self.vocabulary = Vocabulary.from_json((folder / VOCABULARY).read_text(encoding="utf-8"))
        except Exception as error:  # the library of tokenizers raises bare exceptions
            raise self._damaged(error) from error

    def split(self, name: str) -> TokenizedSplit:
        """The sentences of a split.

        Raises:
            ValueError: If files are damaged.
        """
        try:
            number = self.facts[name]["facts"]["num_examples"]
            tokens = self._mapped(name, "tokens", TOKENS, self.facts[name]["num_tokens"])
            return TokenizedSplit(
                tokens, *(self._mapped(name, array, INDEX, number) for array in TokenizedSplit._fields[1:])
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error

    def _mapped(self, split: str, name: str, dtype: str, length: int) -> Tensor:
        path = array_file(self._folder, split, name)
        if path.stat().st_size != length * np.dtype(dtype).itemsize:
            raise ValueError(f"{path.name} does not have the {length} entries that it was written with")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(np.memmap(path, dtype, "r", shape=(length,)))

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(f"{self._folder} is damaged ({error}): delete it, and it is made anew")


def array_file(folder: Path, split: str, name: str) -> Path:
    """The file of an array of a split."""
    return folder / f"{split}-{name}.bin"
