"""Omniglot: handwritten characters of 50 alphabets."""

import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_info

from datamodules.files import download, missing, verify
from datamodules.images import Binarize, Examples, ImageDataModule, Splits
from datamodules.omniglot_sources import FILES, FOLDERS, Corpus, Variant, read_corpus


class OmniglotDataModule(ImageDataModule):
    """Omniglot (Lake et al. 2015), ink is 1, in one of three variants.

    | variant       | files in `data_dir`                                             | train / val / test     |
    |---------------|-----------------------------------------------------------------|------------------------|
    | `chardata`    | omniglot/chardata.mat                                           | 23,000 / 1,345 / 8,070 |
    | `torchvision` | omniglot-py/images_{background,evaluation}.zip                  | 22,722 / 1,623 / 8,115 |
    | `npz`         | omniglot/images_{background,evaluation}.npz and its classes.tsv | 22,722 / 1,623 / 8,115 |

    `chardata` is the 28 x 28 file of Burda et al. (2016), and **the only variant whose results are comparable with
    published ones**. The default is their split: their shuffle, the last 1,345 for validation. Kim et al. (2018) and He
    et al. (2019) hold out 2,000, after a shuffle without a seed: take `val_size=2000` to compare with their tables. The
    alphabets are numbered in the file, not named. Its grey values are floats, and are kept as floats.

    The two others hold the official 105 x 105 drawings, the same in both, resized by area: a pixel's grey value is
    the fraction of its area that is ink. Of each of the 1,623 characters, drawers 1-14 are for training, 15 for
    validation and 16-20 for test. Compare results on them with each other only.

    The files are checked by their md5, read once, and kept as one preprocessed file; a read-only `data_dir` is enough.

    Args:
        data_dir: The folder of the data sets.
        variant: chardata, torchvision, or npz.
        size: Height and width of the resized drawings; chardata has 28.
        label: The labels of batches: alphabet (0..49) or character (0..1622).
        val_size: Validation examples of chardata.
        download: Whether absent files may be downloaded (those of npz cannot).
        cache_dir: The folder of the preprocessed file. By default that of the files, or the user's cache folder if that
            cannot be written.
        binarize: none, static, or dynamic.
        kwargs: See `ImageDataModule`.

    Attributes:
        label_names: After setup, the names of the alphabets by their labels; empty where labels are characters.

    Raises:
        FileNotFoundError: If a file is absent and cannot be downloaded; says which, and where to put it.
        ValueError: If a file is damaged, or an argument is outside its range.
        OSError: If the preprocessed file cannot be written to any folder.
    """

    def __init__(
        self,
        data_dir: str = "data",
        variant: Variant = "chardata",
        size: int = 28,
        label: Literal["alphabet", "character"] = "alphabet",
        val_size: int = 1345,
        download: bool = True,
        cache_dir: str | None = None,
        binarize: Binarize = "dynamic",
        **kwargs: Any,
    ) -> None:
        super().__init__(binarize=binarize, **kwargs)
        if variant not in FILES:
            raise ValueError(f"variant={variant!r} must be one of {', '.join(FILES)}")
        if label not in ("alphabet", "character"):
            raise ValueError(f"label={label!r} must be one of alphabet, character")
        if (variant == "chardata" and size != 28) or not 1 <= size <= 105:
            raise ValueError(f"size={size} must be 28 for chardata, and in 1..105 for the other variants")
        self.variant, self.size, self.label, self.val_size = variant, size, label, val_size
        self.download, self.cache_dir = download, cache_dir
        self.folder = Path(data_dir, FOLDERS[variant])
        self.image_shape = (1, size, size)
        self.label_names: list[str] = []

    def prepare_data(self) -> None:
        if self._find_cache() is not None:
            return
        files = FILES[self.variant]
        absent = [file for file in files if not (self.folder / file.name).is_file()]
        if absent and not self.download:
            raise missing(self.folder, absent, f"download is off{self._other_variants()}")
        try:
            download(self.folder, absent)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}{self._other_variants()}") from error
        for file in files:
            verify(self.folder / file.name, file.md5)
        rank_zero_info(f"preprocessing Omniglot ({self.variant}) once")
        self._store(read_corpus(self.variant, self.folder, self.size))

    def load(self) -> Splits:
        cache = self._find_cache()
        if cache is None:
            raise FileNotFoundError(f"no preprocessed Omniglot in {self._cache_folders[0]}: call prepare_data() first")
        try:
            with np.load(cache) as arrays:
                corpus = Corpus(**arrays)
            images = torch.from_numpy(corpus.images).view(-1, *self.image_shape)
            labels = torch.from_numpy(corpus.characters if self.label == "character" else corpus.alphabets)
            train, val, test = corpus.sizes.tolist()
            fits = len(images) == len(labels) == train + val + test and min(train, val, test) >= 0
            if images.dtype != (torch.float32 if self.variant == "chardata" else torch.uint8) or not fits:
                raise ValueError("its arrays do not fit each other")
        except Exception as error:  # any exception is possible, depending on which byte is wrong
            raise ValueError(f"{cache} is damaged ({error}): delete it, and it is created again") from error
        self.label_names = corpus.alphabet_names.tolist() if self.label == "alphabet" else []
        if self.variant == "chardata":
            if not 1 <= self.val_size < train:
                raise ValueError(f"val_size={self.val_size} must be in 1..{train - 1}")
            train, val = train - self.val_size, self.val_size
        return Splits(*map(Examples, torch.split(images, [train, val, test]), torch.split(labels, [train, val, test])))

    @property
    def _cache_folders(self) -> list[Path]:
        if self.cache_dir is not None:
            return [Path(self.cache_dir)]
        return [self.folder, Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skipvae")]

    @property
    def _cache_name(self) -> str:
        return f"omniglot-{self.variant}-{self.size}-v2.npz"  # a change in what is stored is a new version

    def _find_cache(self) -> Path | None:
        paths = (folder / self._cache_name for folder in self._cache_folders)
        return next((path for path in paths if path.is_file()), None)

    def _store(self, corpus: Corpus) -> None:
        """Write the preprocessed file to a temporary folder and move it: it is complete as soon as it exists."""
        failures = []
        for folder in self._cache_folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=folder, prefix=".preprocess-") as scratch:
                    unfinished = Path(scratch, self._cache_name)
                    np.savez(unfinished, **corpus._asdict())
                    os.replace(unfinished, folder / self._cache_name)
                return
            except OSError as error:
                failures.append(str(error))
        raise OSError(f"no folder for the preprocessed images, set cache_dir to one ({'; '.join(failures)})")

    def _other_variants(self) -> str:
        """A hint for users who have the files of another variant."""
        data_dir = self.folder.parent
        there = [
            variant
            for variant, files in FILES.items()
            if all((data_dir / FOLDERS[variant] / file.name).is_file() for file in files)
        ]
        return f"; or set variant={there[0]}, whose files are there" if there else ""
