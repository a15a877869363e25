"""The bounds that are maximised, and their terms."""
