"""The three published forms of Omniglot, each read into the same arrays."""

import csv
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.files import PublishedFile

Variant: TypeAlias = Literal["chardata", "torchvision", "npz"]

DRAWERS = 20  # people who each drew every character once; drawings are split by drawer
_OFFICIAL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
_IWAE = "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/"

FOLDERS: dict[Variant, str] = {"chardata": "omniglot", "torchvision": "omniglot-py", "npz": "omniglot"}
FILES: dict[Variant, list[PublishedFile]] = {
    "chardata": [PublishedFile("chardata.mat", "21ecaf34373511aa7691cf2e0802aa3d", [f"{_IWAE}chardata.mat"])],
    "torchvision": [
        PublishedFile(name, md5, [_OFFICIAL + name])
        for name, md5 in {
            "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
            "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
        }.items()
    ],
    "npz": [
        PublishedFile("images_background.npz", "042c0a3e1688c4f4dc9d7213db63ee80", []),
        PublishedFile("images_evaluation.npz", "a6277b6770b9241c6906fa797456e652", []),
        PublishedFile("classes.tsv", "12c4bfb937ab0e52f7459d5626ab5164", []),
    ],
}


class Corpus(NamedTuple):
    """All of Omniglot: training images first, then those for validation, then those for test."""

    images: NDArray[np.uint8] | NDArray[np.float32]  # (N, size, size); ink is 255 of bytes and 1 of floats
    characters: NDArray[np.int64]  # (N,)
    alphabets: NDArray[np.int64]  # (N,)
    alphabet_names: NDArray[np.str_]
    sizes: NDArray[np.int64]  # of the three splits


def read_corpus(variant: Variant, folder: Path, size: int) -> Corpus:
    """Read the files of a variant, which were verified before, and resize the images."""
    if variant == "chardata":
        return _read_chardata(folder / "chardata.mat")
    if variant == "torchvision":
        parts = (_read_zip(folder / f"images_{part}.zip") for part in ("background", "evaluation"))
    else:
        parts = (_read_npz(folder, part) for part in ("background", "evaluation"))
    return _from_drawings(parts, size)


def _read_chardata(path: Path) -> Corpus:
    from scipy.io import loadmat  # imported late: only this variant needs it

    arrays = loadmat(path)

    def joined(train: str, test: str) -> NDArray[Any]:
        # one example a column; the order of the training examples is the one of Burda et al.'s code
        order = np.random.RandomState(123).permutation(arrays[train].shape[1])
        return np.concatenate([arrays[train].T[order], arrays[test].T])

    images = joined("data", "testdata").reshape(-1, 28, 28).swapaxes(1, 2)  # columns were stored first
    alphabets = joined("target", "testtarget").argmax(1)
    within = joined("targetchar", "testtargetchar")[:, 0].astype(np.int64)
    test = arrays["testdata"].shape[1]
    return Corpus(
        images=images.astype(np.float32),
        characters=np.unique(1000 * alphabets + within, return_inverse=True)[1].astype(np.int64),
        alphabets=alphabets.astype(np.int64),
        alphabet_names=np.array(
            [f"alphabet {number}" for number in range(1, int(np.max(alphabets)) + 2)]
        ),  # not named there
        sizes=np.array([len(images) - test, 0, test]),
    )


_Drawings: TypeAlias = tuple[NDArray[np.bool_], list[str]]  # ink (characters, DRAWERS, H, W); a character's alphabet


def _read_zip(path: Path) -> _Drawings:
    from PIL import Image

    with zipfile.ZipFile(path) as archive:
        # images_background/<alphabet>/<character>/<number of the character>_<number of the drawer>.png
        names = sorted((name for name in archive.namelist() if name.endswith(".png")), key=lambda name: name[-11:])
        pages = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L")) < 128 for name in names]
    ink = np.stack(pages)
    return ink.reshape(-1, DRAWERS, *ink.shape[1:]), [name.split("/")[-3] for name in names[::DRAWERS]]


def _read_npz(folder: Path, part: str) -> _Drawings:
    with np.load(folder / f"images_{part}.npz") as arrays, (folder / "classes.tsv").open(newline="") as table:
        rows = csv.DictReader(table, delimiter="\t")
        return ~arrays["images"], [row["alphabet"] for row in rows if row["split"] == part]  # True is paper there


def _from_drawings(parts: Iterable[_Drawings], size: int) -> Corpus:
    """Drawers 1-14 of each character are for training, 15 for validation, 16-20 for test."""
    images: list[NDArray[np.uint8]] = []
    alphabets: list[int] = []
    alphabet_names: list[str] = []
    for ink, alphabets_of_part in parts:
        images.append(np.concatenate([shrink(torch.from_numpy(drawings), size).numpy() for drawings in ink]))
        known = sorted(set(alphabets_of_part))
        alphabets += [len(alphabet_names) + known.index(name) for name in alphabets_of_part]
        alphabet_names += known
    characters = len(alphabets)
    by_drawer = np.concatenate(images).reshape(characters, DRAWERS, size, size).swapaxes(0, 1)
    return Corpus(
        images=np.ascontiguousarray(by_drawer.reshape(-1, size, size)),
        characters=np.tile(np.arange(characters), DRAWERS),
        alphabets=np.tile(np.array(alphabets), DRAWERS),
        alphabet_names=np.array(alphabet_names),
        sizes=characters * np.array([14, 1, 5]),
    )


def shrink(ink: Tensor, size: int) -> Tensor:
    """Resize by area: a pixel's grey value is the fraction of its area that is ink (the exact box filter).

    Args:
        ink: bool (N, H, H).
        size: Height and width of the result, at most H.

    Returns:
        uint8 (N, size, size).

    Example:
        >>> shrink(torch.tensor([[[1, 1, 0], [1, 1, 0], [0, 0, 0]]]).bool(), 2).tolist()
        [[[255, 85], [85, 28]]]
    """
    scale = ink.shape[-1] / size
    edges = torch.arange(ink.shape[-1])
    starts = scale * torch.arange(size)[:, None]
    overlap = (torch.minimum(starts + scale, edges + 1) - torch.maximum(starts, edges)).clamp(min=0) / scale
    return (255 * (overlap @ ink.float() @ overlap.T)).round().to(torch.uint8)
