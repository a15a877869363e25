"""Tables of one's own: CSV or parquet files with numeric columns."""

from collections.abc import Sequence
from functools import cached_property
from math import log
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from datamodules.class_order import in_order
from datamodules.columns import Columns
from datamodules.table_files import TableFile, check_known, read_table
from datamodules.tensors import Splits, TensorDataModule, check_fractions, draw_splits

Missing = Literal["refuse", "drop"]

ROUNDING = 8 * np.finfo(np.float64).eps
"""Relative difference of numbers that are equal but for the way they were computed."""


class Rows(NamedTuple):
    """One split."""

    x: Any  # float32 (N, D)
    labels: Any  # int64 (N,), -1 for none


class _Content(NamedTuple):
    """One split as it stands in its file."""

    values: NDArray[np.float64]  # (N, D)
    labels: list[str]  # "" for none
    ids: Tensor  # int64 (N,): rows of the file, counted from 0

    def take(self, rows: Tensor) -> "_Content":
        chosen = rows.tolist()
        return _Content(self.values[chosen], [self.labels[row] for row in chosen], self.ids[rows])


class TableDataModule(TensorDataModule):
    """A table with numeric columns: CSV, TSV or parquet. x is float32 (B, D), a row without its label.

    Each column is standardised by the mean and standard deviation of the training split, which checkpoints hold, so
    that samples come in the units of the table. Log-likelihoods are of the standardised rows; in the units of the table
    a log-density is lower by the sum of the logs of the D standard deviations, which `nll_in_units` takes into account.

    Of a CSV file the delimiter, a byte order mark, quotes and an absent line of names are recognised, see `read_table`;
    booleans and numbers are read from parquet. An empty value, NA, NaN, null, none or ? is missing, and refused unless
    `missing` is drop; so are text, infinities and decimal commas (see `decimal`), each with its line. A column that is
    constant in the training split says nothing and is left out, with a warning; one that was asked for is refused. The
    table is read at every start. An example's id is its row in the file, counted from 0.

    Args:
        path: File of all rows, or of the training rows.
        val: File for validation, with the same columns; drawn from the rows of `path` if not given.
        test: Likewise.
        label: Column of the classes, numbers or text; none by default. Without a value a row has no label.
        columns: The columns to model; all but the label by default.
        exclude: Columns to leave out.
        delimiter: Between the values of a CSV file; found if not given. `tab` for a tab.
        decimal: The decimal point of a CSV file, or a comma.
        missing: `refuse` a table with missing values, or `drop` the rows that have them, with a warning.
        standardize: Whether columns are standardised; without, x are the numbers of the table, as for a likelihood of
            0 and 1.
        columns_file: The columns.json of another run, to be used instead of the columns and the standardisation of
            this table.
        val_fraction: Fraction of the rows held out for validation, if there is no file for it.
        test_fraction: Likewise for test.
        split_seed: Of the splits that are drawn.
        kwargs: See `TensorDataModule`.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If it is parquet, and pyarrow is not installed.
        ValueError: If an argument is out of range, or the table cannot be used; names file, line and column.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.csv").write_text("height,weight,kind\\n" + "1.5,3,cat\\n2.5,9,dog\\n" * 20)
        ...     data = TableDataModule(f"{folder}/a.csv", label="kind", batch_size=4)
        ...     data.setup()
        >>> x, label = next(iter(data.train_dataloader()))
        >>> data.columns.names, data.label_names, x.shape
        (['height', 'weight'], ['cat', 'dog'], torch.Size([4, 2]))
    """

    def __init__(
        self,
        path: str,
        val: str | None = None,
        test: str | None = None,
        label: str | None = None,
        columns: list[str] | None = None,
        exclude: list[str] | None = None,
        delimiter: str | None = None,
        decimal: str = ".",
        missing: Missing = "refuse",
        standardize: bool = True,
        columns_file: str | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_fractions(val_fraction, test_fraction)
        if decimal not in (".", ","):
            raise ValueError(f"decimal={decimal!r} must be '.' or ','")
        if missing not in ("refuse", "drop"):
            raise ValueError(f"missing={missing!r} must be refuse or drop")
        if columns is not None and exclude is not None:
            raise ValueError("columns says which ones to take and exclude which ones not: set one of the two")
        if columns_file is not None and (columns is not None or exclude is not None or not standardize):
            raise ValueError(f"columns and standardize follow from columns_file={columns_file}: leave them out")
        self.sources = {"train": path, "val": val, "test": test}
        self.label, self.asked, self.exclude, self.columns_file = label, columns, exclude, columns_file
        self.delimiter, self.decimal, self.missing, self.standardize = delimiter, decimal, missing, standardize
        self.fractions, self.split_seed = {"val": val_fraction, "test": test_fraction}, split_seed

    # -- known before any batch -------------------------------------------------------------------------------------

    @property
    def num_columns(self) -> int:
        """D."""
        return len(self.columns.names)

    @property
    def columns(self) -> Columns:
        """The columns and their standardisation, by the training split or of `columns_file`."""
        return self._content[0]

    @cached_property
    def label_names(self) -> list[str]:
        """The classes, in the order of their numbers or of the alphabet."""
        return in_order({text for content in self._content[1].values() for text in content.labels} - {""})

    def load(self) -> Splits:
        columns, contents = self._content
        number_of = {name: number for number, name in enumerate(self.label_names)} | {"": -1}
        splits = {
            split: Rows(columns.encode(content.values), torch.tensor([number_of[text] for text in content.labels]))
            for split, content in contents.items()
        }
        return Splits(**splits)

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        for facts in self.split_facts.values() if self.standardize else ():
            facts["sum_of_log_scales"] = sum(map(log, self.columns.scale))

    def ids(self, split: str, index: Tensor) -> Tensor:
        """The rows of the file, counted from 0, int64 (B,)."""
        return self._content[1][split].ids.to(index.device)[index]

    # -- reading ----------------------------------------------------------------------------------------------------

    @cached_property
    def _content(self) -> tuple[Columns, dict[str, _Content]]:
        """The columns, and what each split holds of them."""
        train = read_table(self.sources["train"] or "", self.delimiter)
        fixed = Columns.load(self.columns_file) if self.columns_file is not None else None
        names = fixed.names if fixed is not None else self._names_in(train)
        whole = self._read(train, names)
        drawn = {split: fraction for split, fraction in self.fractions.items() if self.sources[split] is None}
        try:
            rows = draw_splits(len(whole.labels), drawn, self.split_seed)
        except ValueError as error:
            raise ValueError(f"{train.path}: {error}") from error
        contents = {split: whole.take(index) for split, index in rows.items()}
        for split, file in self.sources.items():
            if split not in contents and file is not None:
                contents[split] = self._read(read_table(file, self.delimiter), names)
        if self.label is not None:
            _check_classes(train.path, self.label, [text for content in contents.values() for text in content.labels])
        if fixed is not None:
            return fixed, contents
        varying = self._varying(train, names, contents["train"].values[: self.train_size])
        kept = [names[column] for column in varying]
        contents = {split: content._replace(values=content.values[:, varying]) for split, content in contents.items()}
        measured = Columns.measured(kept, contents["train"].values[: self.train_size], self.standardize)
        return measured, contents

    def _names_in(self, table: TableFile) -> list[str]:
        """The columns to model, in the order of the table."""
        known = list(table.cells)
        asked = self.asked or []
        for name in (*asked, *(self.exclude or ()), *([self.label] if self.label is not None else ())):
            check_known(table.path, table.cells, name)
        if self.label is not None and self.label in asked:
            raise ValueError(f"data.columns has the label {self.label!r}: take it out, it is not modelled")
        names = [name for name in known if name in asked] if asked else known
        names = [name for name in names if name != self.label and name not in (self.exclude or ())]
        if not names:
            raise ValueError(f"{table.path} has no columns to model, of {', '.join(known)}: set data.columns")
        return names

    def _read(self, table: TableFile, names: Sequence[str]) -> _Content:
        for name in (*names, *([self.label] if self.label is not None else ())):
            check_known(table.path, table.cells, name)
        values = np.stack([table.numbers(name, self.decimal) for name in names], 1)
        labels = table.texts(self.label) if self.label is not None else [""] * len(values)
        if self.label is not None and "" in labels:
            rank_zero_warn(
                f"{table.path}: {self.label!r} is missing in {labels.count(''):,} of {len(labels):,} rows, which have "
                "no label: it is empty, NA, NaN, null, none or ?"
            )
        content = _Content(values, labels, torch.arange(len(values)))
        incomplete = np.isnan(values).any(1)
        if not incomplete.any():
            return content
        if self.missing == "refuse":
            row = int(np.argmax(incomplete))
            name = names[int(np.argmax(np.isnan(values[row])))]
            raise ValueError(
                f"{table.where(row)}: {name!r} is missing, as are values in {int(incomplete.sum()):,} of "
                f"{len(values):,} rows: fill them in, leave such rows out by data.missing drop, or such columns by "
                "data.exclude"
            )
        if incomplete.all():
            raise ValueError(f"{table.path}: every row has a missing value: leave columns out by data.exclude")
        rank_zero_warn(f"{table.path}: {int(incomplete.sum()):,} of {len(values):,} rows have missing values: left out")
        return content.take(torch.from_numpy(~incomplete).nonzero().squeeze(1))

    def _varying(self, table: TableFile, names: Sequence[str], values: NDArray[np.float64]) -> list[int]:
        """The columns that are not constant in the training values (N, D), up to their rounding."""
        constant = values.max(0) - values.min(0) <= ROUNDING * np.abs(values).max(0)
        left_out = [name for name, same in zip(names, constant, strict=True) if same]
        shown = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        if left_out and (self.asked is not None or constant.all()):
            raise ValueError(f"{table.path}: {shown} has one value in all training rows: take it out of data.columns")
        if left_out:
            rank_zero_warn(f"{table.path}: columns with one value in all training rows are left out: {shown}")
        return [column for column, same in enumerate(constant) if not same]


def _check_classes(path: Any, label: str, texts: Sequence[str]) -> None:
    """Raise a ValueError if a column of labels holds no classes."""
    classes = set(texts) - {""}
    fractional = any(text.lstrip("+-").replace(".", "", 1).isdigit() and "." in text for text in classes)
    if (fractional and len(classes) > 20) or (len(texts) >= 20 and len(classes) > len(texts) / 2):
        raise ValueError(
            f"{path}: {label!r} has {len(classes):,} different values in {len(texts):,} rows, such as "
            f"{min(classes)!r}: these are no classes; leave data.label out, and it is modelled as the others are"
        )
