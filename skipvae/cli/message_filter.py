"""Messages and warnings: those of Lightning that appear in every run are left out; ours are one line."""

import logging
import re
import warnings
from pathlib import Path
from typing import Any

from skipvae.errors import OURS

USELESS = re.compile(
    "litlogger"  # an advertisement
    "|TPU available"
    "|`weights_only` was not set"
)

FORMAT_OF_OTHERS = warnings.formatwarning


def filter_messages() -> None:
    """Leaves out messages that do not depend on the run at hand, and the lines of code in our own warnings."""
    warnings.formatwarning = _format
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.trainer.connectors.checkpoint_connector"):
        logging.getLogger(name).addFilter(_is_useful)
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")  # Lightning's own use of PyTorch
    warnings.filterwarnings(
        "ignore", "ReduceLROnPlateau conditioned on metric val/elbo"
    )  # and we evaluate before its step
    warnings.filterwarnings("ignore", ".*sync_dist=True")  # our metrics are already those of all processes
    warnings.filterwarnings(
        "ignore", "Checkpoint directory .* exists and is not empty"
    )  # as it does when a run is resumed


def _format(message: Warning | str, category: type[Warning], filename: str, *more: Any, **options: Any) -> str:
    """A warning as it is printed; ours are for users, whom the line of code tells nothing."""
    if any(map(Path(filename).is_relative_to, OURS)):
        return f"skipvae: warning: {message}\n"
    return FORMAT_OF_OTHERS(message, category, filename, *more, **options)


def _is_useful(record: logging.LogRecord) -> bool:
    return not USELESS.search(record.getMessage())
