"""Data on disk: whole files, the folders of runs and their settings."""
