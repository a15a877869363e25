"""Data modules: corpora in memory, batched by slicing. They know nothing of the models that learn from them."""

from datamodules.images import ImageDataModule
from datamodules.mnist import FashionMNISTDataModule, MNISTDataModule, MNISTDigitsDataModule
from datamodules.omniglot import OmniglotDataModule

__all__ = [
    "FashionMNISTDataModule",
    "ImageDataModule",
    "MNISTDataModule",
    "MNISTDigitsDataModule",
    "OmniglotDataModule",
]
