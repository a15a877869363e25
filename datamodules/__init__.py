"""Data modules: data sets in memory, batched by slicing. They know nothing of the models that learn from them."""

from datamodules.corpora import PTBDataModule, YahooDataModule
from datamodules.image_folder import ImageFolderDataModule
from datamodules.images import ImageDataModule
from datamodules.mnist import FashionMNISTDataModule, MNISTDataModule, MNISTDigitsDataModule
from datamodules.omniglot import OmniglotDataModule
from datamodules.sentences import SentenceDataModule
from datamodules.synthetic import LinearGaussianDataModule, LSTMCorpusDataModule
from datamodules.text import TextDataModule
from datamodules.verses import VersesDataModule

__all__ = [
    "FashionMNISTDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "LSTMCorpusDataModule",
    "LinearGaussianDataModule",
    "MNISTDataModule",
    "MNISTDigitsDataModule",
    "OmniglotDataModule",
    "PTBDataModule",
    "SentenceDataModule",
    "TextDataModule",
    "VersesDataModule",
    "YahooDataModule",
]
