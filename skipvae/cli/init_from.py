"""`fit --init_from CHECKPOINT`: a new run from the weights of another."""

from collections.abc import Sequence

from skipvae.models import GenerativeModel
from skipvae.persistence.checkpoint import SPEC_KEY, check_fits, description, read_checkpoint
from skipvae.training.codecs import check_same_codecs, codecs_in


def initialize(model: GenerativeModel, path: str, parts: Sequence[str] | None, codecs: dict[str, str]) -> None:
    """Loads the weights in a checkpoint into a model that is about to be trained.

    Args:
        model: the model.
        path: the checkpoint.
        parts: attributes of the model, such as encoder; all of it when not given.
        codecs: of the data, see `skipvae.training.codecs`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no checkpoint, if the weights do not fit, or if one of the two lacks a part.
    """
    content = read_checkpoint(path)
    check_same_codecs(codecs_in(content), codecs, path)
    weights = content["state_dict"]
    if parts is None:
        check_fits(content, model, path)
        model.load_state_dict(weights)
        return
    here, there = (
        list(dict.fromkeys(name.partition(".")[0] for name in names)) for names in (model.state_dict(), weights)
    )
    for part in parts:
        for where, known in ("the model", here), (path, there):
            if part not in known:
                raise ValueError(
                    f"{where} has no part {part} with weights for --init_parts: choose from {', '.join(known)}"
                )
        of_part = {
            name.removeprefix(f"{part}."): weight for name, weight in weights.items() if name.startswith(f"{part}.")
        }
        described = {"model": description(content, "model", "init_args", part)}
        check_fits({"state_dict": of_part, SPEC_KEY: described}, getattr(model, part), f"the {part} in {path}")
        getattr(model, part).load_state_dict(of_part)
