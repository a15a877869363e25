"""The CSV file of posteriors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skipvae.callbacks import PredictionWriter
from tests.callbacks.tiny import LATENT_DIM, make_loader, make_model, make_trainer

IDS = torch.arange(13).flip(0) * 7


def expected() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    x, label, identity = make_loader(13, ids=IDS).dataset[:]
    with torch.no_grad():
        q = make_model().eval().infer(x)
    order = identity.argsort()
    return torch.stack([identity, label], 1)[order].numpy(), torch.cat([q.mean, q.logvar], 1)[order].numpy()


def read(path: Path) -> Any:
    return np.genfromtxt(path, delimiter=",", names=True)


def assert_complete(path: Path) -> None:
    table = read(path)
    integers, floats = expected()
    names = [f"mean_{k}" for k in range(LATENT_DIM)] + [f"logvar_{k}" for k in range(LATENT_DIM)]
    assert list(table.dtype.names) == ["id", "label", *names]
    assert np.array_equal(np.stack([table["id"], table["label"]], 1), integers)
    np.testing.assert_allclose(np.stack([table[name] for name in names], 1), floats, rtol=1e-5, atol=1e-6)


def test_rows_in_order_of_ids_with_nine_digits(tmp_path: Path, capsys: Any) -> None:
    trainer = make_trainer(tmp_path, PredictionWriter())
    outputs: Any = trainer.predict(make_model(), make_loader(13, ids=IDS))
    path = tmp_path / "run/version_0/predictions.csv"
    assert_complete(path)
    assert str(path) in capsys.readouterr().out
    written = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float32)[:, 2:]
    predicted = torch.cat([torch.cat([batch["mean"], batch["logvar"]], 1) for batch in outputs]).flip(0).numpy()
    assert np.array_equal(written, predicted), "nine digits give the same float32 back"


def test_pandas_reads_it(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    output = tmp_path / "new folder" / "z.csv"
    make_trainer(tmp_path, PredictionWriter(str(output))).predict(make_model(), make_loader(13, ids=IDS))
    frame = pandas.read_csv(output)
    assert frame["id"].tolist() == sorted(IDS.tolist())
    assert frame["label"].dtype == np.int64
    assert [path.name for path in output.parent.iterdir()] == ["z.csv"]


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    output = tmp_path / "z.csv"
    trainer = make_trainer(tmp_path, PredictionWriter(str(output)), devices=2, strategy="ddp_fork", logger=False)
    trainer.predict(make_model(), make_loader(13, ids=IDS), return_predictions=False)
    assert_complete(output)
    assert [path.name for path in tmp_path.iterdir()] == ["z.csv"], "the parts are gone"


def test_a_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, PredictionWriter(str(tmp_path)))
    with pytest.raises(ValueError, match="is a folder"):
        trainer.predict(make_model(), make_loader(13, ids=IDS))


def test_models_without_posterior_are_refused(tmp_path: Path) -> None:
    model: Any = make_model()
    model.predict_step = lambda batch, batch_idx: batch[0]
    with pytest.raises(ValueError, match="VAE predicts no posterior"):
        make_trainer(tmp_path, PredictionWriter()).predict(model, make_loader(13, ids=IDS))


def test_a_second_prediction_replaces_the_first(tmp_path: Path) -> None:
    writer, output = PredictionWriter(str(tmp_path / "z.csv")), tmp_path / "z.csv"
    for _ in range(2):
        make_trainer(tmp_path, writer).predict(make_model(), make_loader(13, ids=IDS))
    assert_complete(output)


def test_the_ending_decides_the_format_and_labels_have_names(tmp_path: Path) -> None:
    from skipvae.callbacks.predictions import _write

    rows = np.array([[0, 1, 0.5, -1.0], [3, -1, 0.25, -2.0]])
    _write(tmp_path / "z.csv", rows, ["cat", "dog, wild"], [])
    assert (tmp_path / "z.csv").read_text().splitlines() == [
        "id,label,mean_0,logvar_0,label_name",
        '0,1,0.5,-1,"dog, wild"',
        "3,-1,0.25,-2,",
    ]
    _write(tmp_path / "z.csv", rows, [], [f"{number}.png" for number in range(4)])
    assert (tmp_path / "z.csv").read_text().splitlines()[::2] == ["id,label,mean_0,logvar_0,path", "3,-1,0.25,-2,3.png"]
    _write(tmp_path / "z.npz", rows, ["cat", "dog, wild"], [f"{number}.png" for number in range(4)])
    with np.load(tmp_path / "z.npz") as arrays:
        assert arrays["id"].tolist() == [0, 3]
        assert arrays["mean"].tolist() == [[0.5], [0.25]]
        assert arrays["label_names"][arrays["label"][0]] == "dog, wild"
        assert arrays["path"].tolist() == ["0.png", "3.png"]


def test_another_ending_is_refused_before_the_work(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, PredictionWriter(str(tmp_path / "z.xlsx")))
    with pytest.raises(ValueError, match=r"give a name that ends in \.csv or \.npz"):
        trainer.predict(make_model(), make_loader(13, ids=IDS))
