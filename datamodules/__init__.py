"""Data modules: data sets in memory, batched by slicing. They know nothing of the models that learn from them."""

from datamodules.arrays import ArrayDataModule
from datamodules.corpora import PTBDataModule, YahooDataModule
from datamodules.image_folder import ImageFolderDataModule
from datamodules.images import ImageDataModule
from datamodules.mnist import FashionMNISTDataModule, MNISTDataModule, MNISTDigitsDataModule
from datamodules.omniglot import OmniglotDataModule
from datamodules.photographs import CIFAR10DataModule, PhotoPatchesDataModule, SVHNDataModule
from datamodules.sentences import SentenceDataModule
from datamodules.synthetic import LinearGaussianDataModule, LSTMCorpusDataModule
from datamodules.table import TableDataModule
from datamodules.text import TextDataModule
from datamodules.verses import VersesDataModule

__all__ = [
    "ArrayDataModule",
    "CIFAR10DataModule",
    "FashionMNISTDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "LSTMCorpusDataModule",
    "LinearGaussianDataModule",
    "MNISTDataModule",
    "MNISTDigitsDataModule",
    "OmniglotDataModule",
    "PTBDataModule",
    "PhotoPatchesDataModule",
    "SVHNDataModule",
    "SentenceDataModule",
    "TableDataModule",
    "TextDataModule",
    "VersesDataModule",
    "YahooDataModule",
]
