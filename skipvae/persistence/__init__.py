"""Data on disk: files that are either complete or as they were before."""
