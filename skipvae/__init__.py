"""Variational autoencoders whose latent variables do not collapse (Dieng et al. 2019)."""
