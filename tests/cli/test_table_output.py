"""Models of tables by the command line: the whole way from a file to files in its units."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import TableDataModule
from skipvae import VAE
from skipvae.cli import main
from skipvae.table.codec import TableCodec
from tests.callbacks.tiny import read_events
from tests.command_line import QUIET, ROOT, error_of, plain

SMALL = [
    *("--config", str(ROOT / "configs/table/vae_small.yaml"), "--name=table", *QUIET, "--data.path=t.csv"),
    *("--data.label=kind", "--model.encoder.hidden_dim=8", "--model.decoder.hidden_dim=8"),
    *("--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1"),
]
RUN = Path("lightning_logs/table/version_0")
MEAN, SCALE = np.array([170.0, -3000.0, 0.1]), np.array([10.0, 0.5, 1e-3])


def write_table(path: str = "t.csv", seed: int = 0, shift: float = 0.0) -> None:
    values = MEAN + SCALE * (np.random.default_rng(seed).normal(size=(60, 3)) + shift)
    rows = "".join(f"{a!r},{b!r},{c!r},{'cat' if a > MEAN[0] else 'dog'}\n" for a, b, c in values.tolist())
    Path(path).write_text(f'tall,"a, b",width,kind\n{rows}')


@pytest.fixture(scope="module")
def trained_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        write_table()
        plain(["fit", *SMALL, "--trainer.max_epochs=1"])
    return folder


@pytest.fixture
def table_run(trained_table: Path, workspace: Path) -> Path:
    shutil.copytree(trained_table, workspace, dirs_exist_ok=True)
    return RUN


def read(path: str) -> tuple[list[str], np.ndarray]:
    with open(path, encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return names, np.array(rows)


def test_a_checkpoint_alone_samples_in_units(table_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("elsewhere").mkdir()
    shutil.copy(table_run / "checkpoints/best.ckpt", "elsewhere/a.ckpt")
    main(["sample", "--ckpt_path=elsewhere/a.ckpt", "--seed=7", "--output=new/s.csv"])
    assert capsys.readouterr().out == "wrote new/s.csv\n"
    names, rows = read("new/s.csv")
    assert names == ["tall", "a, b", "width"]
    assert len(rows) == 1000
    drawn = (rows.astype(float) - MEAN) / SCALE
    assert (abs(drawn.mean(0)) < 1).all()
    assert (abs(np.log(drawn.std(0))) < 1).all()
    torch.manual_seed(7)
    model = VAE.load_from_checkpoint("elsewhere/a.ckpt")
    assert model.codecs["columns"] == (table_run / "columns.json").read_text()
    expected = TableCodec.of(model).decode(model.sample(1000))
    np.testing.assert_allclose(rows.astype(float), expected, rtol=1e-8)
    main(["sample", "--ckpt_path=elsewhere/a.ckpt", "--seed=7", "--mean", "--num=50", "--output=m.csv"])
    means = (read("m.csv")[1].astype(float) - MEAN) / SCALE
    assert (means.std(0) < drawn.std(0) / 2).all()  # hardly trained, z moves them little


def test_reconstructions_and_interpolations_are_rows_with_keys(table_run: Path) -> None:
    data = TableDataModule("t.csv", label="kind")
    data.setup()
    assert data.splits is not None
    x = data.splits.test.x
    model = VAE.load_from_checkpoint(table_run / "checkpoints/best.ckpt")
    main(["reconstruct", "--ckpt_path=best"])
    names, rows = read("reconstructions.csv")
    assert names == ["example", "part", "tall", "a, b", "width"]
    assert rows[:, 0].tolist() == [str(row) for row in range(len(x)) for _ in "ab"]  # as many as there are
    units = TableCodec.of(model)
    for part, expected in (("input", x), ("reconstruction", model.reconstruct(x))):
        np.testing.assert_allclose(rows[rows[:, 1] == part, 2:].astype(float), units.decode(expected), rtol=1e-6)
    main(["interpolate", "--ckpt_path=best", "--num=2", "--steps=3", "--output=i.csv"])
    names, rows = read("i.csv")
    assert names[:2] == ["pair", "step"]
    assert rows[:, :2].tolist() == [[str(pair), str(step)] for pair in range(2) for step in range(3)]
    np.testing.assert_allclose(rows[::3, 2:].astype(float), units.decode(model.reconstruct(x[:2])), rtol=1e-6)


def test_test_and_predict(table_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain(["test", "--ckpt_path=best", *QUIET])
    record = json.loads((table_run / "metrics.json").read_text())
    scale = json.loads((table_run / "columns.json").read_text())["scale"]
    assert record["nll_in_units"] == pytest.approx(record["nll"] + np.log(scale).sum(), rel=1e-9)
    assert "a log-density" in record["measure"]
    assert {"probe_accuracy", "majority_accuracy"} <= record.keys()
    assert record["label_names"] == ["cat", "dog"]
    assert "nll_in_units" in capsys.readouterr().out
    plain(["predict", "--ckpt_path=best", *QUIET])
    names, rows = read(str(table_run / "predictions.csv"))
    assert (names[0], names[-1]) == ("id", "label_name")
    _, table = read("t.csv")
    assert rows[:, -1].tolist() == [table[int(row), -1] for row in rows[:, 0]]


def test_a_resumed_run_is_the_same(table_run: Path) -> None:
    resumed = plain(["fit", "--ckpt_path=last", *QUIET, "--trainer.max_epochs=2"])
    whole = plain(["fit", *SMALL, "--trainer.max_epochs=2"])
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weight), name


def test_nothing_in_tensorboard_is_empty(table_run: Path) -> None:
    tags = read_events(table_run).Tags()
    assert [tag for tag in tags["images"] if not tag.startswith("latents/")] == []
    assert "val/elbo" in tags["scalars"]


def test_other_columns_are_refused_and_those_of_the_run_are_taken(
    table_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(table_run / "checkpoints/best.ckpt")
    write_table("other.csv", seed=1, shift=1.0)
    for command in ("test", "fit", "reconstruct"):
        message = error_of(capsys, command, "--ckpt_path", path, "--data.path=other.csv")
        if command != "fit":  # which refuses other data anyway
            assert "other columns than those of the data: 'tall' is" in message
            assert "data.columns_file" in message
    main(
        ["test", "--ckpt_path", path, "--data.path=other.csv", f"--data.columns_file={table_run}/columns.json", *QUIET]
    )
    (other,) = table_run.glob("with-*/metrics.json")
    assert json.loads(other.read_text())["num_examples"] == 6


def test_what_is_not_for_tables_is_refused(table_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "ends in .csv" in error_of(capsys, "sample", "--ckpt_path=best", "--output=s.png")
    assert "top_k is an option for text" in error_of(capsys, "sample", "--ckpt_path=best", "--top_k=3")
    assert "columns is an option for images" in error_of(capsys, "sample", "--ckpt_path=best", "--columns=3")
    bernoulli = "--model.decoder.likelihood=skipvae.likelihoods.Bernoulli"
    said = error_of(capsys, "fit", *SMALL, bernoulli)
    assert said.startswith("t.csv: ")
    assert "data.standardize false" in said
    resnet = error_of(capsys, "fit", *SMALL, "--model.decoder=ResNetDecoder")
    assert "[3]: for the columns of a table take MLPEncoder and MLPDecoder" in resnet
    said = error_of(capsys, "fit", *SMALL, "--data.path=nowhere.csv")
    assert said == "there is no file nowhere.csv: give a CSV or parquet file with a row for each example"


def test_columns_of_zeros_and_ones(workspace: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (60, 3))
    Path("t.csv").write_text("a,b,c\n" + "".join(f"{a},{b},{c}\n" for a, b, c in bits))
    options = ["--data.label=null", "--data.standardize=false", "--trainer.max_steps=3"]
    plain(["fit", *SMALL, *options, "--model.decoder.likelihood=skipvae.likelihoods.Bernoulli"])
    main(["sample", "--ckpt_path=best", "--num=20"])
    names, rows = read("samples.csv")
    assert names == ["a", "b", "c"]
    assert set(rows.flat) == {"0", "1"}
