"""What Lightning says in every run and what helps nobody."""

import logging
import re
import warnings

USELESS = re.compile(
    "litlogger"  # an advertisement
    "|TPU available"
    "|`weights_only` was not set"
)


def quieten() -> None:
    """Leaves out messages that tell a user nothing; what is said of the run at hand stays."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.trainer.connectors.checkpoint_connector"):
        logging.getLogger(name).addFilter(_is_useful)
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")  # Lightning's own use of PyTorch
    warnings.filterwarnings("ignore", "ReduceLROnPlateau conditioned on metric val/elbo")  # which we see to ourselves
    warnings.filterwarnings("ignore", ".*sync_dist=True")  # our metrics are already those of all processes
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")  # so it is when one resumes


def _is_useful(record: logging.LogRecord) -> bool:
    return not USELESS.search(record.getMessage())
