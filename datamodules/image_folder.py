"""Pictures of one's own: a folder of picture files."""

import json
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from rich.progress import Progress

from datamodules.class_order import in_order
from datamodules.images import Examples, ImageDataModule, Splits
from datamodules.pictures import EXTENSIONS, Fit, Format, is_colored, picture_files, quiet_decoders, read_pictures
from datamodules.prepared import cache_folders, find, key_of, prepare
from datamodules.tensors import check_fractions
from datamodules.workers import Workers, num_cores

SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""Names of subfolders that are splits and no classes."""
MAX_SIZE = 4096
"""Pixels of the height or width of an image, at most."""
AT_A_TIME = 32
"""Pictures that are handed to a process together."""
MANY = 1000
"""Pictures from which on it pays to start processes."""
NUM_LOOKED_AT = 64
"""Pictures that decide whether a folder is in colour, spread evenly over it."""


class _Picture(NamedTuple):
    path: str  # relative to the root
    split: str  # "train", "val" or "test"
    label: int


class ImageFolderDataModule(ImageDataModule):
    """The pictures in a folder: PNG, JPEG, WebP, GIF (first frame), BMP, TIFF; of any sizes and modes.

    Subfolders are classes, or `train`, `val` and `test` with or without classes in them. A split that has no folder is
    drawn from the training pictures, each by its path and the seed of the split, so that a picture that is added later
    moves no other one to another split. Pictures are read once, by all cores, into a memory-mapped file of bytes beside
    the data or in a cache folder; from then on a start reads no picture, or some, for their colour, and the folder may
    be larger than memory. Files that cannot be read are left out, counted and named. Classes are in the order of their
    numbers or of the alphabet.

    Attributes:
        test_files: The path of each test picture, relative to the root, complete after `setup`; for predictions.

    Args:
        root: The folder.
        image_size: Pixels, or [height, width].
        fit: `crop` what is beyond the middle, `pad` with the background, or `stretch`.
        color: Three channels, or one; as the pictures are if not given.
        background: Grey level, 0 (black) to 255 (white), behind transparent pixels and around padded pictures.
        val_fraction: Fraction of the training pictures held out for validation, if there is no folder for it:
            approximately, and at least one.
        test_fraction: Likewise for test.
        split_seed: Of the splits.
        cache_dir: Folder for the prepared pictures; by default beside the data if that can be written, else in the
            user's cache.
        kwargs: See `ImageDataModule`.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds too few pictures, or an argument is out of range.
    """

    def __init__(
        self,
        root: str,
        image_size: int | list[int] = 64,
        fit: Fit = "crop",
        color: bool | None = None,
        background: int = 255,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        height, width = (image_size, image_size) if isinstance(image_size, int) else _pair(image_size)
        if not 4 <= min(height, width) <= max(height, width) <= MAX_SIZE:
            raise ValueError(f"image_size={image_size} must be pixels from 4 to {MAX_SIZE}")
        if fit not in ("crop", "pad", "stretch"):
            raise ValueError(f"fit={fit!r} must be one of crop, pad, stretch")
        if not 0 <= background <= 255:
            raise ValueError(f"background={background} must be a grey level from 0 (black) to 255 (white)")
        check_fractions(val_fraction, test_fraction)
        self.root, self.split_seed, self.cache_dir = Path(root).expanduser(), split_seed, cache_dir
        self.sources = dict.fromkeys(SPLIT_NAMES, root)
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.label_names: list[str] = []
        self.test_files: list[str] = []
        self._digests: dict[str, NDArray[np.str_]] = {}
        self._pictures = self._find_pictures()
        if color is None:
            step = max(1, len(self._pictures) // NUM_LOOKED_AT)
            with quiet_decoders():
                color = any(is_colored(self.root / picture.path) for picture in self._pictures[::step])
        self.format = Format(height, width, color, fit, background)
        self.image_shape = self.format.shape

    def _find_pictures(self) -> list[_Picture]:
        """All pictures with their split and label, in an order that depends on their names and the seed alone."""
        if not self.root.is_dir():
            raise FileNotFoundError(f"there is no folder {self.root}: give data.root the folder of your pictures")
        paths = [path.relative_to(self.root) for path in picture_files(self.root)]
        if not paths:
            raise ValueError(
                f"{self.root} holds no pictures, files that end in {', '.join(sorted(EXTENSIONS))}: give data.root the "
                "folder of your pictures"
            )
        split_of = {name: split for split, names in SPLIT_NAMES.items() for name in names}
        splits = [split_of.get(path.parts[0].lower(), "") if len(path.parts) > 1 else "" for path in paths]
        if "train" not in splits:
            splits = [""] * len(paths)  # no folder to train on: these are classes by those names
        given = set(splits) - {""}
        found: list[tuple[Path, str, str]] = []
        left_out: list[Path] = []
        for path, split in zip(paths, splits, strict=True):
            folders = path.parts[1 if split else 0 : -1]
            if given and not split:
                left_out.append(path)
            else:
                found.append((path, split or "train", folders[0] if folders else ""))
        if left_out:
            rank_zero_warn(
                f"{self.root}: {len(left_out):,} pictures, such as {left_out[0]}, are in none of the folders "
                f"{', '.join(split for split in SPLIT_NAMES if split in given)} and left out"
            )
        names = in_order(name for _, _, name in found if name)
        if len(names) > 1:
            self.label_names = names
        label_of = {name: label for label, name in enumerate(self.label_names)}
        pictures = [_Picture(path.as_posix(), split, label_of.get(name, -1)) for path, split, name in found]
        # By chance, so that classes take turns; by its path alone, so that a picture that is added moves no other one.
        pictures.sort(key=lambda picture: _chance(self.split_seed, picture.path))
        train = [i for i, picture in enumerate(pictures) if picture.split == "train"]
        chances = [_chance(self.split_seed, pictures[i].path) for i in train]
        start, below = 0, 0.0
        for split in ("test", "val"):
            if split not in given:
                below += self.fractions[split]
                end = max(start + 1, bisect_left(chances, below))
                for i in train[start:end]:
                    pictures[i] = pictures[i]._replace(split=split)
                start = end
        if empty := ", ".join(split for split in SPLIT_NAMES if all(picture.split != split for picture in pictures)):
            raise ValueError(
                f"{self.root} holds {len(pictures)} picture(s), and none is left for {empty}: add some, or lower "
                "data.val_fraction and data.test_fraction"
            )
        return pictures

    def prepare_data(self) -> None:
        prepare(self._folders, self._name, self._write)

    def load(self) -> Splits:
        folder = find(self._folders, self._name)
        if folder is None:
            raise FileNotFoundError(f"no prepared pictures in {self._folders[0]}: call prepare_data() first")
        try:
            facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
            images = np.load(folder / "images.npy", mmap_mode="c")  # copy on write: torch wants arrays it may write to
            labels = torch.tensor(facts["labels"])
            sizes = facts["sizes"]
            digests = facts["digests"]
            if images.shape != (sum(sizes), *self.image_shape) or not len(images) == len(labels) == len(digests):
                raise ValueError("its arrays do not fit each other")
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{folder} is damaged ({error}): delete it, and it is made anew") from error
        if facts["unreadable"]:
            self._warn(facts["unreadable"], len(self._pictures))
        self._digests = dict(zip(SPLIT_NAMES, np.split(digests, np.cumsum(sizes)[:-1]), strict=True))
        paths = facts.get("paths", [])[-sizes[-1] :]
        self.test_files = [path.encode(errors="surrogateescape").decode(errors="replace") for path in paths]
        parts = torch.split(torch.from_numpy(images), sizes)
        return Splits(*map(Examples, parts, torch.split(labels, sizes)))

    def checked(self, loaded: Splits) -> Splits:
        """The same: these were checked when they were prepared, and looking at all of them would take time."""
        return loaded

    def contents(self, split: str, examples: Examples) -> Iterable[Hashable]:
        """The digest of each picture of a split."""
        return list(self._digests[split][: len(examples.images)])

    def members(self, train: Examples) -> Iterable[bytes]:
        """Their paths: another version of a decoder may read other pixels."""
        paths = (picture.path for picture in self._pictures if picture.split == "train")
        return (f"{path}\n".encode(errors="surrogateescape") for path in paths)

    @property
    def _folders(self) -> list[Path]:
        return cache_folders(self.root / ".skipvae", self.cache_dir)

    @property
    def _name(self) -> str:
        files = []
        for picture in self._pictures:
            try:
                status = (self.root / picture.path).stat()
                files.append([*picture, status.st_size, status.st_mtime_ns])
            except OSError:  # a link to nothing: reading it will say so
                files.append([*picture, None, None])
        return f"images-{key_of([files, self.format])}"

    def _write(self, folder: Path) -> None:
        """Read every picture into one array, split after split."""
        pictures = sorted(self._pictures, key=lambda picture: list(SPLIT_NAMES).index(picture.split))
        kept: list[_Picture] = []
        unreadable, digests = [], []
        # Written and not mapped, for a full disk is an error to report only where something is written.
        with (
            (folder / "images.npy").open("wb") as file,
            Workers(num_cores() if len(pictures) >= MANY else 0) as workers,
            Progress(transient=True) as progress,
        ):
            _write_header(file, (len(pictures), *self.image_shape))
            bar = progress.add_task("reading pictures", total=len(pictures))
            parts = (pictures[start : start + AT_A_TIME] for start in range(0, len(pictures), AT_A_TIME))
            jobs = ((some, ([str(self.root / picture.path) for picture in some], self.format)) for some in parts)
            for some, read in workers.map(read_pictures, jobs):
                for picture, pixels in zip(some, read, strict=True):
                    if isinstance(pixels, str):
                        unreadable.append(f"{picture.path} ({pixels})")
                    else:
                        file.write(pixels.data)
                        kept.append(picture)
                        digests.append(blake2b(pixels.tobytes(), digest_size=12).hexdigest())
                    progress.advance(bar)
            file.seek(0)
            _write_header(file, (len(kept), *self.image_shape))
        sizes = [sum(picture.split == split for picture in kept) for split in SPLIT_NAMES]
        if not all(sizes):
            empty = ", ".join(split for split, size in zip(SPLIT_NAMES, sizes, strict=True) if not size)
            raise ValueError(
                f"{self.root} has no pictures that can be read for {empty}: {len(unreadable)} of {len(pictures)} files "
                f"are damaged, such as {unreadable[0]}: replace them"
            )
        labels = [picture.label for picture in kept]
        paths = [picture.path for picture in kept]
        facts = {"sizes": sizes, "labels": labels, "digests": digests, "paths": paths, "unreadable": unreadable}
        (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        rank_zero_info(f"read {len(kept):,} pictures of {self.root} into {self._folders[0]}")

    def _warn(self, unreadable: Sequence[str], total: int) -> None:
        shown = "; ".join(unreadable[:5]) + ("; ..." if len(unreadable) > 5 else "")
        rank_zero_warn(f"{len(unreadable)} of {total} pictures in {self.root} cannot be read and are left out: {shown}")


def _chance(seed: int, path: str) -> float:
    """A number from 0 to 1 that is as good as random, a function of seed and path."""
    digest = blake2b(f"{seed}/{path}".encode(errors="surrogateescape"), digest_size=7).digest()
    return int.from_bytes(digest) / 2.0**56


def _pair(image_size: Sequence[int]) -> tuple[int, int]:
    if len(image_size) != 2:
        raise ValueError(f"image_size={list(image_size)} must be a number of pixels, or [height, width]")
    return image_size[0], image_size[1]


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The header of a .npy file of bytes; of the same length for any number of rows."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
