"""Tables become standardised rows, whatever their file says them in; what is no table is refused with its line."""

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules import TableDataModule
from datamodules.columns import Columns

VALUES = np.round(np.random.default_rng(0).normal([170.0, -3.0], [10.0, 0.01], (50, 2)), 4)
KINDS = ["cat", "dog"] * 25
PLAIN = "height,weight,kind\n" + "".join(f"{h},{w},{k}\n" for (h, w), k in zip(VALUES.tolist(), KINDS, strict=True))


def loaded(path: Path, **options: Any) -> TableDataModule:
    data = TableDataModule(str(path), batch_size=4, **{"label": "kind", **options})
    data.setup()
    return data


def written(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def assert_all_there(data: TableDataModule) -> None:
    """Every row is in one split, standardised by the training split, beside its label and id."""
    assert data.splits is not None
    assert [len(split.x) for split in data.splits] == [40, 5, 5]
    assert data.columns.names == ["height", "weight"]
    train = data.splits.train.x.double()
    torch.testing.assert_close(train.mean(0), torch.zeros(2).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(2).double(), atol=1e-5, rtol=0)
    rows = {split: data.ids(split, torch.arange(len(getattr(data.splits, split).x))) for split in data.splits._fields}
    assert torch.cat(list(rows.values())).sort().values.tolist() == list(range(50))
    for split, ids in rows.items():
        x, labels = getattr(data.splits, split)
        decoded = x.double().numpy() * data.columns.scale + data.columns.mean
        np.testing.assert_allclose(decoded, VALUES[ids], rtol=1e-6)
        assert [data.label_names[label] for label in labels] == [KINDS[row] for row in ids]


def with_commas(text: str) -> str:
    return text.replace(",", ";").replace(".", ",")


VARIANTS: dict[str, Any] = {
    "plain": (PLAIN, {}),
    "byte order mark and CRLF": ("\ufeff" + PLAIN.replace("\n", "\r\n"), {}),
    "tabs": (PLAIN.replace(",", "\t"), {}),
    "tabs that are named": (PLAIN.replace(",", "\t"), {"delimiter": "tab"}),
    "semicolons and spaces": (PLAIN.replace(",", " ; "), {}),
    "decimal commas": (with_commas(PLAIN), {"decimal": ","}),
    "quotes, also around a delimiter": (re.sub(r"(cat|dog)", r'"\1"', PLAIN).replace("height", '"height"'), {}),
    "empty lines": (PLAIN.replace("cat\n", "cat\n\n"), {}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_csv_file_is_read(tmp_path: Path, name: str) -> None:
    text, options = VARIANTS[name]
    assert_all_there(loaded(written(tmp_path, text), **options))


def test_a_packed_file_an_index_and_a_file_without_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(PLAIN.encode()))
    assert_all_there(loaded(tmp_path / "t.csv.gz"))
    lines = PLAIN.splitlines()
    numbered = "\n".join([f",{lines[0]}", *(f"{row},{line}" for row, line in enumerate(lines[1:]))])
    with pytest.warns(UserWarning, match="column 1 has no name and is left out"):
        assert_all_there(loaded(written(tmp_path, numbered)))
    nameless = "".join(f"{h},{w},{k == 'dog':d}\n" for (h, w), k in zip(VALUES.tolist(), KINDS, strict=True))
    data = loaded(written(tmp_path, nameless), label="column_3")
    assert data.columns.names == ["column_1", "column_2"]
    assert data.label_names == ["0", "1"]
    assert data.splits is not None
    assert sum(len(split.x) for split in data.splits) == 50


def test_parquet_is_read_and_types_are_numbers(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"height": VALUES[:, 0], "weight": pa.array(VALUES[:, 1]), "kind": pa.array(KINDS).dictionary_encode()}
    parquet.write_table(pa.table(columns), tmp_path / "named.anything")
    assert_all_there(loaded(tmp_path / "named.anything", decimal=","))
    odd = {"whole": pa.array([*range(49), None]), "yes": pa.array([True, False] * 25), "text": ["x"] * 50}
    parquet.write_table(pa.table(odd), tmp_path / "odd.parquet")
    with pytest.raises(ValueError, match=r"odd\.parquet, row 50: 'whole' is missing"):
        loaded(tmp_path / "odd.parquet", label="text")
    with pytest.raises(ValueError, match=r"odd\.parquet, row 1: 'text' is 'x', which is no number"):
        loaded(tmp_path / "odd.parquet", label=None)
    with pytest.warns(UserWarning, match="1 of 50 rows have missing values: left out"):
        data = loaded(tmp_path / "odd.parquet", label="text", missing="drop", standardize=False)
    assert data.splits is not None
    assert data.splits.train.x[:, 1].unique().tolist() == [0, 1]
    for content, said in ((b"PAR1 and nonsense", "is it damaged?"), (b"a,b\n1,2\n", "no parquet file, or damaged")):
        (tmp_path / "bad.parquet").write_bytes(content)
        with pytest.raises(ValueError, match=said):
            loaded(tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match="delimiter is for CSV"):
        loaded(tmp_path / "odd.parquet", delimiter=";")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'skipvae\[table\]'"):
        loaded(tmp_path / "t.parquet")


def test_columns_are_chosen_and_splits_given(tmp_path: Path) -> None:
    path, other = written(tmp_path, PLAIN), written(tmp_path, "kind,weight,height\nowl,-3,150\ncat,-3,\n", "val.csv")
    assert loaded(path, columns=["weight"]).columns.names == ["weight"]
    assert loaded(path, exclude=["weight"]).columns.names == ["height"]
    with pytest.warns(UserWarning, match="1 of 2 rows have missing values"):
        data = loaded(path, val=str(other), missing="drop")
    assert data.splits is not None
    assert [len(split.x) for split in data.splits] == [45, 1, 5]
    assert data.label_names == ["cat", "dog", "owl"]
    assert data.splits.val.labels.tolist() == [2]
    first, second = (loaded(path, split_seed=seed).ids("test", torch.arange(5)).tolist() for seed in (1, 2))
    assert first != second


def test_the_training_examples_alone_decide_on_the_scale(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN)
    few = loaded(path, train_size=20)
    assert few.splits is not None
    assert len(few.splits.train.x) == 20
    torch.testing.assert_close(few.splits.train.x.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    as_it_is = loaded(path, standardize=False)
    assert as_it_is.columns[1:] == ([0.0, 0.0], [1.0, 1.0])
    assert "sum_of_log_scales" not in as_it_is.split_facts["test"]
    assert few.split_facts["test"]["sum_of_log_scales"] == pytest.approx(np.log(few.columns.scale).sum())


def test_columns_of_another_run_are_used(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN)
    columns = Columns(["weight", "height"], [1.0, 2.0], [3.0, 4.0])
    file = written(tmp_path, columns.to_json(), "columns.json")
    data = loaded(path, columns_file=str(file))
    assert data.columns == columns
    assert data.splits is not None
    weight = data.splits.test.x[:, 0].double() * 3 + 1
    np.testing.assert_allclose(weight, VALUES[data.ids("test", torch.arange(5)), 1], rtol=1e-6)
    with pytest.raises(ValueError, match="follow from columns_file"):
        loaded(path, columns_file=str(file), columns=["weight"])
    for text in (
        "{}",
        "nothing",
        '{"names": ["a"], "mean": [0], "scale": [0]}',
        '{"names": [], "mean": [], "scale": []}',
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"columns\.json holds no columns"):
            loaded(path, columns_file=str(file))
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere\.json"):
        loaded(path, columns_file=str(tmp_path / "nowhere.json"))


def test_a_constant_column_is_left_out_or_refused(tmp_path: Path) -> None:
    lines = PLAIN.splitlines()
    path = written(tmp_path, "\n".join([f"same,{lines[0]}", *(f"1e3,{line}" for line in lines[1:])]))
    with pytest.warns(UserWarning, match="one value in all training rows are left out: same"):
        assert_all_there(loaded(path))
    with pytest.raises(ValueError, match="same has one value in all training rows: take it out"):
        loaded(path, columns=["same", "height"])
    rounded = [f"{[1.0, 1.0000000000000002, 0.9999999999999998][n % 3]!r},{line}" for n, line in enumerate(lines[1:])]
    path = written(tmp_path, "\n".join([f"same,{lines[0]}", *rounded]))
    with pytest.warns(UserWarning, match="one value in all training rows are left out: same"):
        assert_all_there(loaded(path))


@pytest.mark.parametrize("power", [-300, -200, 200, 300])
def test_very_large_and_very_small_numbers_are_standardised(tmp_path: Path, power: int) -> None:
    lines = PLAIN.splitlines()
    rows = [f"{n}e{power},{line.split(',')[2]}" for n, line in enumerate(lines[1:])]
    data = loaded(written(tmp_path, "\n".join(["x,kind", *rows])))
    assert data.splits is not None
    train = data.splits.train.x.double()
    np.testing.assert_allclose([train.mean(), train.std(correction=0)], [0, 1], atol=1e-6)
    assert data.split_facts["test"]["sum_of_log_scales"] == pytest.approx(power * np.log(10) + np.log(14.5), abs=0.2)


def test_a_line_of_names_with_numbers_in_it_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path, "".join(PLAIN.splitlines(keepends=True)[1:]))  # the names are not there
    first = VALUES[0].tolist()
    with pytest.warns(UserWarning, match=f"names of the columns, though {first[0]}, {first[1]} are numbers: if it is"):
        assert loaded(path, label="cat").columns.names == list(map(str, first))


def test_whole_numbers_of_many_digits_are_other_classes(tmp_path: Path) -> None:
    ids = [2**60 + n % 2 for n in range(40)]
    path = written(tmp_path, "x,y\n" + "".join(f"{n},{id_}\n" for n, id_ in enumerate(ids)))
    assert loaded(path, label="y").label_names == [str(2**60), str(2**60 + 1)]
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(
        arrow.table({"x": list(range(40)), "y": ids, "hash": [2**62 + 2**20 * n for n in range(40)]}), path
    )
    assert loaded(path, label="y", exclude=["hash"]).label_names == [str(2**60), str(2**60 + 1)]
    assert loaded(path, label="y").columns.mean[1] == pytest.approx(2**62)


def test_labels_may_be_missing_or_numbers(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{n},{'' if n == 3 else 2.0 * (n % 2) + 8}\n" for n in range(30))
    with pytest.warns(UserWarning, match="'y' is missing in 1 of 30 rows, which have no label"):
        data = loaded(written(tmp_path, text), label="y")
    assert data.label_names == ["8", "10"]
    assert data.splits is not None
    labels = torch.cat([split.labels for split in data.splits])
    assert sorted(labels.tolist()) == [-1] + [0] * 15 + [1] * 14
    for values in ([n / 7 for n in range(30)], [n % 25 / 7 for n in range(300)], range(30)):
        path = written(tmp_path, "x,y\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values)))
        with pytest.raises(ValueError, match="these are no classes"):
            loaded(path, label="y").label_names  # noqa: B018


def changed(line: int, to: str) -> str:
    lines = PLAIN.splitlines()
    lines[line - 1] = to
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, r"t\.csv is empty: give a CSV or parquet file"),
        ("height,weight,kind\n", {}, r"t\.csv has no rows"),
        (changed(7, "tall,3,cat"), {}, r"t\.csv, line 7: 'height' is 'tall', which is no number: if it is a class"),
        (PLAIN, {"label": None}, r"line 2: 'kind' is 'cat', which is no number: .*set data\.label to 'kind'"),
        (changed(7, '"1,5",3,cat'), {}, r"line 7: 'height' is '1,5', .*set data\.decimal to ','"),
        (with_commas(changed(7, "1..5,3,cat")), {"decimal": ","}, r"line 7: 'height' is '1,,5', which is no number"),
        (PLAIN.replace(",", ";"), {"decimal": ","}, r"line 2: 'height' is .*set data\.decimal to '\.'"),
        (changed(7, ",3,cat"), {}, r"line 7: 'height' is missing, as are values in 1 of 50 rows: .*data\.missing drop"),
        (changed(7, "nan,3,cat"), {}, "line 7: 'height' is missing"),
        (changed(7, "-inf,3,cat"), {"missing": "drop"}, r"line 7: 'height' is infinite: correct it, or leave"),
        (changed(7, "1,3"), {}, r"t\.csv, line 7 has 2 values, but line 1 has 3: quote a value that contains ','"),
        (changed(7, '1,"3,cat'), {}, r"line 7 has 2 values, but line 1 has 3: a quote in it is not closed"),
        (changed(7, '1,3,"' + "x" * 200_000), {}, "line 7 cannot be read, is a quote not closed"),
        (changed(1, "height,height,kind"), {}, "two columns are called 'height': rename one"),
        (PLAIN, {"label": "kinds"}, r"t\.csv has no column 'kinds': did you mean 'kind'\?"),
        (PLAIN, {"columns": ["a"]}, "has no column 'a': it has height, weight, kind"),
        (PLAIN, {"exclude": ["a"]}, "has no column 'a'"),
        (PLAIN, {"columns": ["kind"]}, "data.columns has the label 'kind'"),
        (PLAIN, {"exclude": ["height", "weight"]}, "has no columns to model, of height, weight, kind"),
        (PLAIN, {"columns": ["height"], "exclude": ["weight"]}, "set one of the two"),
        (PLAIN, {"delimiter": ",,"}, "give one character, or tab"),
        (PLAIN, {"delimiter": ";", "label": None}, "'height,weight,kind' is '.*', which is no number"),
        (PLAIN, {"decimal": "x"}, "must be '.' or ','"),
        (PLAIN, {"missing": "fill"}, "must be refuse or drop"),
        (PLAIN, {"val_fraction": 0.95}, "leave something to train on"),
        ("\n".join(PLAIN.split("\n")[:3]), {}, r"t\.csv: 2 examples are too few for three splits"),
        ("x,kind\n" + ",cat\n" * 9, {"missing": "drop"}, "every row has a missing value"),
        ("x,kind\n" + "1,cat\n" * 9, {}, "x has one value in all training rows"),
        (PLAIN.replace("dog", "\0", 1), {}, "line 3 holds a NUL byte"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(
    tmp_path: Path, text: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        loaded(written(tmp_path, text), **options)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*t\.csv: give a CSV or parquet file"):
        loaded(tmp_path / "t.csv")
    for content, said in (
        (b"PK\x03\x04 workbook", "a zip archive, or an office document, not text: save it as CSV or parquet"),
        ("h\xf6he,kind\n1,a\n".encode("latin1"), r"line 1, byte 2: 0xf6 is not UTF-8; convert the file"),
    ):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(ValueError, match=said):
            loaded(tmp_path / "t.csv")
