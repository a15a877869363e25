"""Inference of the approximate posterior q(z|x): by an encoder, by gradient ascent, or by both."""

from skipvae.inference.amortized import Amortized, Inference, Inferred
from skipvae.inference.gradient_ascent import GradientAscent
from skipvae.inference.rules import NaturalGradient, PublishedGradient, Rule
from skipvae.inference.semi_amortized import SemiAmortized
from skipvae.inference.svi import SVI
from skipvae.posteriors.diagonal_gaussian import divergence

__all__ = [
    "SVI",
    "Amortized",
    "GradientAscent",
    "Inference",
    "Inferred",
    "NaturalGradient",
    "PublishedGradient",
    "Rule",
    "SemiAmortized",
    "divergence",
]
