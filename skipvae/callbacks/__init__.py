"""What happens around training: annealing, pictures, reports and files."""

from skipvae.callbacks.checkpoints import BestAndLast
from skipvae.callbacks.images import ImageGrids
from skipvae.callbacks.kl_annealing import CyclicalKLAnnealing, FixedKLWeight, KLWeight, LinearKLAnnealing
from skipvae.callbacks.latents import LatentPictures
from skipvae.callbacks.predictions import PredictionWriter
from skipvae.callbacks.report import Report
from skipvae.callbacks.text import TextSamples
from skipvae.callbacks.verdict import verdict

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
    "TextSamples",
    "verdict",
]
