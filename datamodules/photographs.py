"""Small photographs: CIFAR-10, street-view house numbers, and patches of the photographs that scikit-learn ships."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.files import PublishedFile, download, missing, verify
from datamodules.images import Examples, ImageDataModule, Splits
from datamodules.randomness import Stream, permutation


class _TorchvisionDataModule(ImageDataModule):
    """A data set of 32 x 32 colour pictures that torchvision knows how to read.

    Args:
        data_dir: The folder of the data sets.
        download: Whether absent files may be downloaded.
        val_size: Training pictures held out for validation, the last ones.
        kwargs: See `ImageDataModule`.

    Raises:
        FileNotFoundError: If a file is absent and cannot be downloaded; says which, and where to put it.
        ValueError: If a file is damaged.
    """

    image_shape = (3, 32, 32)

    def __init__(self, data_dir: str = "data", download: bool = True, val_size: int = 5_000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_dir, self.download, self.val_size = data_dir, download, val_size

    @property
    def _folder(self) -> Path:
        raise NotImplementedError

    @property
    def _files(self) -> list[PublishedFile]:
        raise NotImplementedError

    def _read(self, train: bool) -> tuple[NDArray[np.uint8], Any]:
        """Pictures (N, C, H, W) and labels (N,)."""
        raise NotImplementedError

    def prepare_data(self) -> None:
        absent = [file for file in self._files if not (self._folder / file.name).is_file()]
        if absent and not self.download:
            raise missing(self._folder, absent, "download is off")
        download(self._folder, absent)

    def load(self) -> Splits:
        for file in self._files:
            if not (self._folder / file.name).is_file():
                raise missing(self._folder, [file], "call prepare_data() first to download it")
            verify(self._folder / file.name, file.md5)
        (images, labels), (test_images, test_labels) = self._read(True), self._read(False)
        if not 1 <= self.val_size < len(images):
            raise ValueError(f"val_size={self.val_size} must be in 1..{len(images) - 1}")
        sizes = [len(images) - self.val_size, self.val_size]
        fit_images, val_images = torch.split(torch.from_numpy(images), sizes)
        fit_labels, val_labels = torch.split(torch.as_tensor(labels).long(), sizes)
        test = Examples(torch.from_numpy(test_images), torch.as_tensor(test_labels).long())
        return Splits(Examples(fit_images, fit_labels), Examples(val_images, val_labels), test)


class CIFAR10DataModule(_TorchvisionDataModule):
    """CIFAR-10 (Krizhevsky 2009): 45,000 / 5,000 / 10,000 pictures of ten kinds of things.

    Reads `data_dir/cifar-10-python.tar.gz`, or downloads it. See `_TorchvisionDataModule` for arguments and errors.
    """

    label_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    @property
    def _folder(self) -> Path:
        return Path(self.data_dir)

    @property
    def _files(self) -> list[PublishedFile]:
        from torchvision.datasets import CIFAR10  # imported late: torchvision takes seconds

        return [PublishedFile(CIFAR10.filename, CIFAR10.tgz_md5, [CIFAR10.url])]

    def prepare_data(self) -> None:
        from torchvision.datasets import CIFAR10

        super().prepare_data()
        verify(self._folder / CIFAR10.filename, CIFAR10.tgz_md5)
        CIFAR10(self.data_dir, download=True)  # unpacks what is there

    def _read(self, train: bool) -> tuple[NDArray[np.uint8], Any]:
        from torchvision.datasets import CIFAR10

        try:
            found = CIFAR10(self.data_dir, train=train)
        except RuntimeError as error:
            raise ValueError(
                f"{self._folder / CIFAR10.base_folder} is incomplete: delete it, it is unpacked anew ({error})"
            ) from error
        return np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)), found.targets


class SVHNDataModule(_TorchvisionDataModule):
    """Street-view house numbers, cropped (Netzer et al. 2011): 68,257 / 5,000 / 26,032 pictures of digits.

    Reads `data_dir/SVHN/{train,test}_32x32.mat`, or downloads them. See `_TorchvisionDataModule`.
    """

    @property
    def _folder(self) -> Path:
        return Path(self.data_dir, "SVHN")

    @property
    def _files(self) -> list[PublishedFile]:
        from torchvision.datasets import SVHN

        published = (SVHN.split_list[split] for split in ("train", "test"))
        return [PublishedFile(name, md5, [url]) for url, name, md5 in published]

    def _read(self, train: bool) -> tuple[NDArray[np.uint8], Any]:
        from torchvision.datasets import SVHN

        found = SVHN(str(self._folder), split="train" if train else "test")
        return found.data, found.labels


class PhotoPatchesDataModule(ImageDataModule):
    """Patches of 32 x 32 pixels of the two photographs that scikit-learn ships, a temple and a flower, in colour.

    Each photograph, 640 pixels wide, is cut into three parts, from the left for training, validation and test, so that
    no pixel is in two splits. The patches of a part overlap by three quarters. Nothing is downloaded. The label is the
    photograph.

    Args:
        kwargs: See `ImageDataModule`.

    Example:
        >>> data = PhotoPatchesDataModule(batch_size=100)
        >>> data.setup()
        >>> [len(split.images) for split in data.splits]
        [6100, 500, 500]
    """

    image_shape = (3, 32, 32)
    label_names = ("china", "flower")
    ENDS = (512, 576, 640)
    STRIDE = 8

    def load(self) -> Splits:
        from sklearn.datasets import load_sample_image  # imported late: scikit-learn takes a second

        photographs = [torch.from_numpy(load_sample_image(f"{name}.jpg").copy()) for name in self.label_names]
        start, splits = 0, []
        for end in self.ENDS:
            of_each = [self._patches(photograph[:, start:end].permute(2, 0, 1)) for photograph in photographs]
            images, labels = torch.cat(of_each), torch.arange(2).repeat_interleave(len(of_each[0]))
            order = permutation(len(images), Stream.SPLIT, end)
            splits.append(Examples(images[order], labels[order]))
            start = end
        return Splits(*splits)

    def _patches(self, region: Tensor) -> Tensor:
        """All patches of a region (C, H, W), (N, C, 32, 32)."""
        patches = region.unfold(1, 32, self.STRIDE).unfold(2, 32, self.STRIDE)
        return patches.permute(1, 2, 0, 3, 4).flatten(0, 1).contiguous()
