"""A filter of messages of Lightning that appear in every run and are of no use."""

import logging
import re
import warnings

USELESS = re.compile(
    "litlogger"  # an advertisement
    "|TPU available"
    "|`weights_only` was not set"
)


def filter_messages() -> None:
    """Leaves out messages that do not depend on the run at hand."""
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


def _is_useful(record: logging.LogRecord) -> bool:
    return not USELESS.search(record.getMessage())
