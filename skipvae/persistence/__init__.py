"""Data on disk: atomic files, run folders, checkpoints and their component specs, configs."""
