"""Models as folders and repositories of the Hugging Face hub, by the library's own mixin."""

import hashlib
import json
from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download
from safetensors.torch import load, save_file

from skipvae.models.model_card import card_of, config_text
from skipvae.persistence.atomic import atomic_folder, atomic_write
from skipvae.persistence.checkpoint import SPEC_KEY
from skipvae.persistence.migration import upgrade

WEIGHTS, CONFIG, CARD, TRAINING = "model.safetensors", "config.json", "README.md", "training.yaml"
DIGEST = "sha256"
"""Entry of config.json: of the weights and the description, see `_digest`."""


class SharedModel(ModelHubMixin, library_name="skipvae"):
    """A model, or the files of one, for the library's mixin.

    Args:
        model: to be saved; None for one to be loaded.
        name: of the folder or the repository.
        files: where weights and description of a model to be loaded lie.
    """

    def __init__(self, model: Any = None, name: str = "", files: tuple[Path, ...] = ()) -> None:
        self.model, self.name, self.files = model, name, files

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        config: Any = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """See `Shareable.save_pretrained`."""
        if config is not None:
            raise ValueError(f"{CONFIG} describes the model as it is: leave config out")
        folder = Path(save_directory)
        with atomic_folder(folder) as partial:
            super().save_pretrained(partial, model_card_kwargs=model_card_kwargs)
            if (folder / CARD).exists():
                (partial / CARD).unlink()
        if not push_to_hub:
            return None
        self.name = repo_id or self.name
        return self.push_to_hub(self.name, model_card_kwargs=model_card_kwargs, **push_to_hub_kwargs)

    def _save_pretrained(self, save_directory: Path) -> None:
        description = self.model.description
        weights = {name: weight.detach().cpu().clone() for name, weight in self.model.state_dict().items()}
        save_file(weights, save_directory / WEIGHTS, metadata={"format": "pt"})  # copies: they may not share memory
        training = config_text(self.model.source)
        if training is not None:
            with atomic_write(save_directory / TRAINING) as file:
                file.write(training)
        config = {SPEC_KEY: description, DIGEST: _digest((save_directory / WEIGHTS).read_bytes(), description)}
        with atomic_write(save_directory / CONFIG) as file:
            json.dump(config, file, indent=2, ensure_ascii=False)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """See `card_of`."""
        return ModelCard(card_of(self.model, self.name, **kwargs))

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:
        if Path(model_id).is_dir():
            return cls(files=(Path(model_id, WEIGHTS), Path(model_id, CONFIG)))
        return cls(files=tuple(Path(hf_hub_download(model_id, name, **options)) for name in (WEIGHTS, CONFIG)))


def content_of(name: str | Path, **options: Any) -> dict[str, Any]:
    """The content of a folder or a repository, as that of a checkpoint.

    Args:
        name: a folder, or the name of a repository.
        **options: of the library's `from_pretrained`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is not complete or damaged.
    """
    local = Path(name).is_dir()
    if local:
        missing = next((file for file in (CONFIG, WEIGHTS) if not Path(name, file).is_file()), None)
        if missing is not None:
            raise FileNotFoundError(f"there is no {missing} in {name}: is it a folder that save_pretrained wrote?")
    try:
        weights_file, config_file = SharedModel.from_pretrained(name, **options).files
    except Exception as error:  # any kind: of a damaged file, of the network, of the hub
        reason = " ".join(str(error).split())
        if local:
            raise ValueError(f"{Path(name, CONFIG)} is damaged or not of skipvae: {reason}") from error
        raise FileNotFoundError(
            f"there is no folder {name}, and the hub does not give such a model: {reason}"
        ) from error
    damaged = f"{name} is not complete or damaged: save or download it again"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    data = weights_file.read_bytes()
    if not isinstance(config.get(SPEC_KEY), dict):
        raise ValueError(f"{name} was not written by skipvae: {CONFIG} does not say which model it holds")
    if config.get(DIGEST) != _digest(data, config[SPEC_KEY]):
        raise ValueError(f"{damaged} ({WEIGHTS} and {CONFIG} are not those that were saved together)")
    try:
        content = {SPEC_KEY: config[SPEC_KEY], "state_dict": load(data)}
    except Exception as error:  # any kind, depending on the damaged byte
        raise ValueError(f"{damaged} ({error})") from error
    upgrade(content[SPEC_KEY], content["state_dict"])
    return content


def _digest(weights: bytes, description: Any) -> str:
    """A checksum of both, which neither file has: of a save cut short, a byte that flipped, an edit by hand."""
    digest = hashlib.sha256(weights)
    digest.update(json.dumps(description, sort_keys=True).encode())
    return digest.hexdigest()
