"""Lightning callbacks: KL annealing, checkpoints, pictures and texts for loggers, reports and prediction files."""

from skipvae.callbacks.checkpoints import BestAndLast
from skipvae.callbacks.diagnosis import verdict
from skipvae.callbacks.image_grids import ImageGrids
from skipvae.callbacks.kl_annealing import CyclicalKLAnnealing, FixedKLWeight, KLWeight, LinearKLAnnealing
from skipvae.callbacks.latent_plots import LatentPictures
from skipvae.callbacks.predictions import PredictionWriter
from skipvae.callbacks.report import Report
from skipvae.callbacks.run_logger import RunLogger
from skipvae.callbacks.table_plots import TablePlots
from skipvae.callbacks.text_samples import TextSamples

__all__ = [
    "BestAndLast",
    "CyclicalKLAnnealing",
    "FixedKLWeight",
    "ImageGrids",
    "KLWeight",
    "LatentPictures",
    "LinearKLAnnealing",
    "PredictionWriter",
    "Report",
    "RunLogger",
    "TablePlots",
    "TextSamples",
    "verdict",
]
