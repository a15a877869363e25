"""Inference of the approximate posterior q(z|x): by an encoder, by gradient ascent, or by both."""

from skipvae.inference.amortized import Amortized, Inference, Inferred
from skipvae.inference.gradient_ascent import SVI, Optimized, SemiAmortized, divergence
from skipvae.inference.rules import NaturalGradient, PublishedGradient, Rule

__all__ = [
    "SVI",
    "Amortized",
    "Inference",
    "Inferred",
    "NaturalGradient",
    "Optimized",
    "PublishedGradient",
    "Rule",
    "SemiAmortized",
    "divergence",
]
