"""The logger, by the name under which saved runs know it."""

from skipvae.callbacks.run_logger import RunLogger

__all__ = ["RunLogger"]
