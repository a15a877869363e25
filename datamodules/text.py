"""Text files of the user: one sentence or document a line."""

from pathlib import Path
from typing import Any

from datamodules.corpus_rows import Part
from datamodules.lines import TextFile
from datamodules.sentences import SentenceDataModule


class TextDataModule(SentenceDataModule):
    """A corpus of one sentence or document a line, in UTF-8 files that may be gzipped (.gz).

    Where there is no file for validation or test, that split is drawn from the training file, by a shuffle that
    depends on `split_seed` alone. Labels are optional: `label<TAB>text` lines, or a file with the label of each line.
    See `SentenceDataModule` for batches and vocabulary.

    Args:
        train: File of the training sentences, or of all sentences.
        val: File for validation.
        test: File for test.
        labelled: Whether each line is `label<TAB>text`.
        train_labels: File with the label of each line of `train`.
        val_labels: The same for `val`.
        test_labels: The same for `test`.
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
        for name, size in {"val_size": val_size, "test_size": test_size}.items():
            if not (0 < size < 1 if isinstance(size, float) else size >= 1):
                raise ValueError(f"{name}={size} must be a fraction, above 0 and below 1, or a number of sentences")
        self.files, self.labelled = files, labelled
        self.val_size, self.test_size, self.split_seed = val_size, test_size, split_seed

        self.data_folder = Path(train).parent

    def parts(self) -> list[Part]:
        train, val, test = (
            None if file is None else TextFile(file, labels, self.labelled) for file, labels in self.files
        )
        assert train is not None
        sizes = {"val": (self.val_size, val), "test": (self.test_size, test)}
        drawn = {split: size for split, (size, file) in sizes.items() if file is None}
        return [
            Part(train, "train", drawn, self.split_seed),
            *(Part(file, split) for split, (_, file) in sizes.items() if file is not None),
        ]
