"""Objectives: the ELBO and its terms, the training loss, and the importance-weighted log-likelihood."""
