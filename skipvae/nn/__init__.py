"""Layers that networks share, and what training and evaluation do to them."""
