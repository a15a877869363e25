"""Migration of checkpoints of earlier versions of this project, as they are read."""

from typing import Any

import torch
from torch import Tensor

VERSION = 2
"""Version of the networks that a checkpoint describes; checkpoints without a version are of the first."""


def upgrade(record: Any, weights: dict[str, Tensor]) -> None:
    """Updates, in place, the checkpoint of an earlier version, so that its model computes the same as then.

    Version 2 made the MLP that of the authors: by default z no longer reaches the output layer, and each hidden skip
    has a bias of its own.

    Args:
        record: a checkpoint's description of its model; anything, if the file is a stranger's.
        weights: its state_dict.
    """
    if not isinstance(record, dict) or record.get("version", 1) != 1:
        return
    model = record.get("model")
    arguments = model.get("init_args") if isinstance(model, dict) else None
    decoder = arguments.get("decoder") if isinstance(arguments, dict) else None
    if not isinstance(decoder, dict) or decoder.get("class_path") != "skipvae.decoders.MLPDecoder":
        return
    own = decoder.get("init_args")
    if isinstance(own, dict) and own.get("skip") is True:
        own.setdefault("output_skip", True)
        for name, weight in list(weights.items()):
            if name.startswith("decoder.hidden.") and name.endswith(".latent.weight") and weight.dim() == 2:
                weights.setdefault(name.removesuffix("weight") + "bias", torch.zeros_like(weight[:, 0]))
    record["version"] = VERSION
