"""Tiny files of each variant of Omniglot, in the form in which they are published."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from datamodules import OmniglotDataModule

ALPHABETS = {"background": ["Tagalog", "Greek", "Greek"], "evaluation": ["Angelic"]}  # of each character
DRAWINGS = {
    part: np.random.default_rng(len(names)).random((len(names), 20, 105, 105)) < 0.1
    for part, names in ALPHABETS.items()
}


def write_zips(folder: Path) -> None:
    number = 0
    for part, names in ALPHABETS.items():
        with zipfile.ZipFile(folder / f"images_{part}.zip", "w") as archive:
            for alphabet, drawings in zip(names, DRAWINGS[part], strict=True):
                number += 1
                for drawer, ink in enumerate(drawings, 1):
                    page = io.BytesIO()
                    Image.fromarray(~ink).save(page, "PNG")
                    archive.writestr(
                        f"images_{part}/{alphabet}/character{number:02}/{number:04}_{drawer:02}.png", page.getvalue()
                    )


def write_npz(folder: Path) -> None:
    for part, drawings in DRAWINGS.items():
        np.savez(folder / f"images_{part}.npz", images=~drawings, labels=np.zeros(drawings.shape[:2], dtype=np.int64))
    rows = [f"{part}\t0\t0001\t0\t{name}\tcharacter01" for part, names in ALPHABETS.items() for name in names]
    header = "split\tlabel\tfile_prefix\talphabet_id\talphabet\tcharacter"
    (folder / "classes.tsv").write_text("\n".join([header, *rows]) + "\n")


CHARDATA = np.random.default_rng(0).random((26, 28, 28))  # 20 to train on, 6 for test
CHARDATA_ALPHABETS, CHARDATA_CHARACTERS = np.arange(26) % 3, np.arange(26) % 2 + 1


def write_chardata(folder: Path) -> None:
    columns = CHARDATA.swapaxes(1, 2).reshape(26, 784).T
    one_hot = np.eye(3)[CHARDATA_ALPHABETS].T
    arrays = {"data": columns, "target": one_hot, "targetchar": CHARDATA_CHARACTERS[None]}
    train = {name: array[:, :20] for name, array in arrays.items()}
    savemat(folder / "chardata.mat", train | {f"test{name}": array[:, 20:] for name, array in arrays.items()})


WRITERS = {"torchvision": write_zips, "npz": write_npz, "chardata": write_chardata}


def ready(tmp_path: Path, variant: str, **options: Any) -> OmniglotDataModule:
    options = {"binarize": "none", "val_size": 4, **options}
    data = OmniglotDataModule(data_dir=str(tmp_path / "data"), variant=variant, **options)
    data.prepare_data()
    data.setup()
    return data
