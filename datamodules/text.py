"""Text files of the user: one sentence or document a line."""

from pathlib import Path
from typing import Any

from datamodules.corpus_rows import Part
from datamodules.lines import TextFile, TextSource
from datamodules.sentences import SentenceDataModule
from datamodules.text_tables import HUB, TextTable, is_dataset, splits_of_dataset


class TextDataModule(SentenceDataModule):
    """A corpus of one sentence or document a line, in UTF-8 files that may be gzipped (.gz), or a column of tables.

    Tables are CSV, TSV, JSON lines (an object a line) and parquet files, found by their content, and data sets of the
    library `datasets`: a folder that it saved, or hf://NAME or hf://NAME:CONFIG of the Hugging Face hub. A data set's
    own splits `validation` and `test` are used where no `val` and `test` are given.

    Where there is no file for validation or test, that split is drawn from the training file, by a shuffle that
    depends on `split_seed` alone. Labels are optional: `label<TAB>text` lines, or a file with the label of each line.
    See `SentenceDataModule` for batches and vocabulary.

    Args:
        train: File of the training sentences, or of all sentences; a folder or hf://NAME for `datasets`.
        val: File for validation.
        test: File for test.
        labelled: Whether each line is `label<TAB>text`.
        train_labels: File with the label of each line of `train`.
        val_labels: The same for `val`.
        test_labels: The same for `test`.
        text_column: The column of the text, if the files are tables.
        label_column: The column of the labels in them.
        val_size: Where there is no `val`: the number or fraction of sentences to take from `train`.
        test_size: The same where there is no `test`.
        split_seed: Seed of that choice.
        kwargs: See `SentenceDataModule`.

    Raises:
        ValueError: If labels are given twice or for some files only, or the text cannot be used; says why and where.
        FileNotFoundError: If a file is missing.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "cats.txt").write_text("the cat sat on the mat\\n" * 20)
        ...     data = TextDataModule(f"{folder}/cats.txt", batch_size=4)
        ...     data.setup()
        >>> tokens, label = next(iter(data.train_dataloader()))
        >>> data.vocab_size, tokens.shape
        (9, torch.Size([4, 8]))
    """

    def __init__(
        self,
        train: str,
        val: str | None = None,
        test: str | None = None,
        labelled: bool = False,
        train_labels: str | None = None,
        val_labels: str | None = None,
        test_labels: str | None = None,
        text_column: str | None = None,
        label_column: str | None = None,
        val_size: int | float = 0.1,
        test_size: int | float = 0.1,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        files = [(train, train_labels), (val, val_labels), (test, test_labels)]
        with_labels = {labels is not None for file, labels in files if file is not None}
        if len(with_labels) > 1 or any(file is None and labels is not None for file, labels in files):
            raise ValueError("give a file of labels for each text file, or for none")
        if labelled and True in with_labels:
            raise ValueError("labels are either in the lines (labelled) or in separate files: set one of the two")
        if text_column is None and label_column is not None:
            raise ValueError(f"label_column={label_column} is one of a table: set text_column, too")
        if text_column is not None and (labelled or True in with_labels):
            raise ValueError("labels of a table are in its label_column: leave labelled and the files of labels out")
        for name, size in {"val_size": val_size, "test_size": test_size}.items():
            if not (0 < size < 1 if isinstance(size, float) else size >= 1):
                raise ValueError(f"{name}={size} must be a fraction, above 0 and below 1, or a number of sentences")
        self.files, self.labelled = files, labelled
        self.text_column, self.label_column = text_column, label_column
        self.val_size, self.test_size, self.split_seed = val_size, test_size, split_seed
        self.data_folder = None if train.startswith(HUB) else Path(train).parent

    def parts(self) -> list[Part]:
        train, val, test = self._sources()
        assert train is not None
        sizes = {"val": (self.val_size, val), "test": (self.test_size, test)}
        drawn = {split: size for split, (size, file) in sizes.items() if file is None}
        return [
            Part(train, "train", drawn, self.split_seed),
            *(Part(file, split) for split, (_, file) in sizes.items() if file is not None),
        ]

    def _sources(self) -> list[TextSource | None]:
        """The texts of each split, None where there is no file for it."""
        if self.text_column is None:
            for file, _ in self.files:
                if file is not None and is_dataset(file):
                    raise ValueError(f"{file} is a data set: set data.text_column to the column of its text")
            return [None if file is None else TextFile(file, labels, self.labelled) for file, labels in self.files]
        train, *others = (file for file, _ in self.files)
        assert train is not None
        own = splits_of_dataset(train) if is_dataset(train) else []
        sources: list[TextSource | None] = []
        for split, file in zip(("train", "validation", "test"), (train, *others), strict=True):
            if file is not None:
                inside = split if is_dataset(file) and split in splits_of_dataset(file) else None
                sources.append(TextTable(file, self.text_column, self.label_column, inside))
            elif split in own:
                sources.append(TextTable(train, self.text_column, self.label_column, split))
            else:
                sources.append(None)
        return sources
