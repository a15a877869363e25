"""Layers that networks share, their initialization, and checks of their inputs."""
