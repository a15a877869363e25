"""One file with the posteriors of the predicted examples."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from skipvae.persistence.atomic import atomic_write, check_output
from skipvae.persistence.run_folder import run_folder


class PredictionWriter(Callback):
    """Writes id, label, posterior means and log-variances of the predicted examples to one CSV file.

    The columns are id, label, mean_0 ... mean_{K-1}, logvar_0 ... logvar_{K-1}; the rows are in the order of the ids,
    with any number of processes. `numpy.genfromtxt(path, delimiter=",", names=True)` and `pandas.read_csv(path)` read
    it; the nine digits written give back the same float32. An id is the index of an image in its split, of a sentence
    the line, and of a row of a table the row, of the file that its split was read or drawn from, counted from 0.

    Where the data module has `label_names`, a column label_name has that of each example, and where it has
    `test_files`, a column path has that of each picture in its folder. A file that ends in .npz holds the same as
    arrays: id (N,), label (N,), mean (N, K), logvar (N, K), label_names, and path (N,).

    Args:
        output: the file, .csv or .npz; predictions.csv in the run's folder when not given.

    Raises:
        ValueError: if output is a folder, or the model does not predict posteriors.
    """

    def __init__(self, output: str | None = None) -> None:
        self.output = output
        self._rows: list[Tensor] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuses an impossible output before the work is done."""
        if stage == "predict" and type(pl_module).predict_step is LightningModule.predict_step:
            _refuse(pl_module)
        if stage == "predict" and self.output is not None:
            check_output(self.output, ".csv", ".npz")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets an earlier prediction."""
        self._rows = []

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Keeps the posteriors of a batch."""
        if not (isinstance(outputs, dict) and {"id", "label", "mean", "logvar"} <= outputs.keys()):
            _refuse(pl_module)
        columns = [outputs["id"].view(-1, 1), outputs["label"].view(-1, 1), outputs["mean"], outputs["logvar"]]
        self._rows.append(torch.cat([column.double() for column in columns], 1).cpu())  # (B, 2 + 2 K)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Merges the posteriors of all processes and writes them."""
        path = Path(self.output or Path(run_folder(trainer) or ".") / "predictions.csv")
        rows = torch.cat(self._rows).numpy() if self._rows else np.empty((0, 0))
        self._rows = []
        if not trainer.is_global_zero:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(_part(path, trainer.global_rank), rows)
        trainer.strategy.barrier("predictions")
        if trainer.is_global_zero:
            parts = [_part(path, rank) for rank in range(1, trainer.world_size)]
            tables = [table for table in (rows, *map(np.load, parts)) if len(table)]
            if not tables:
                raise ValueError("there are no examples to predict: check the data")
            rows = np.concatenate(tables)
            data = getattr(trainer, "datamodule", None)
            label_names, files = (list(getattr(data, name, None) or ()) for name in ("label_names", "test_files"))
            _write(path, rows[rows[:, 0].argsort(kind="stable")], label_names, files)
            for part in parts:
                part.unlink()
            print(f"posterior means and log-variances of {len(rows)} examples: {path}")


def _refuse(model: LightningModule) -> NoReturn:
    raise ValueError(f"{type(model).__name__} predicts no posterior to write: take a model with latent variables")


def _part(path: Path, rank: int) -> Path:
    return path.with_name(f".{path.name}.{rank}.npy")


def _write(
    path: Path, rows: np.ndarray[Any, np.dtype[np.float64]], label_names: Sequence[str] = (), files: Sequence[str] = ()
) -> None:
    """Writes rows (N, 2 + 2 K) as what the path ends in: a table, or arrays; `files` are those of the ids."""
    latent_dim = (rows.shape[1] - 2) // 2
    if path.suffix.lower() == ".npz":
        mean, logvar = np.split(rows[:, 2:].astype(np.float32), 2, axis=1)
        identity, label = rows[:, :2].astype(np.int64).T
        arrays = {"id": identity, "label": label, "mean": mean, "logvar": logvar}
        arrays["label_names"] = np.array(list(label_names), dtype=np.str_)
        if files:
            arrays["path"] = np.array([files[number] for number in identity], dtype=np.str_)
        with atomic_write(path, "wb") as file:
            np.savez(file, **arrays)
        return
    names = ["id", "label", *(f"{name}_{k}" for name in ("mean", "logvar") for k in range(latent_dim))]
    names += [*(["label_name"] if label_names else []), *(["path"] if files else [])]
    with atomic_write(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        for number, of_label, *values in rows.tolist():
            name = [label_names[int(of_label)] if of_label >= 0 else ""] if label_names else []
            of_file = [files[int(number)]] if files else []
            table.writerow([int(number), int(of_label), *(f"{value:.9g}" for value in values), *name, *of_file])
