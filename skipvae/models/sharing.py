"""Sharing a model as a folder or on the Hugging Face hub; `skipvae/models/hub.py` does the work.

The library's own mixin makes and loads the folders, but this class does not inherit from it: importing it takes a
second, which every command would wait for, and the package is optional.
"""

from pathlib import Path
from typing import Any, Self, cast

from skipvae.errors import require
from skipvae.training.checkpoint_hooks import CheckpointHooks


class Shareable(CheckpointHooks):
    """A model that can be saved to, and loaded from, a folder or a repository of the Hugging Face hub."""

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Saves weights, description and a model card: `model.safetensors`, `config.json` and `README.md`.

        Where the model was loaded from a run folder, the card has the results of its test, and the config of the run
        becomes `training.yaml`, with file names for paths. Folders hold nothing that is run when they are loaded.

        Args:
            save_directory: folder, which appears once it is complete. In one that exists, files of these names are
                replaced, but not a README.md, as is the library's way.
            **options: of `huggingface_hub.ModelHubMixin.save_pretrained`: `push_to_hub`, `repo_id`,
                `model_card_kwargs={"license": ...}` and others.

        Returns:
            The address of the commit if it was pushed.

        Raises:
            ModuleNotFoundError: if the extra `hub` is not installed.
            FloatingPointError: if weights are not finite.
            ValueError: if the path is a file.
        """
        return _hub().SharedModel(self, Path(save_directory).name).save_pretrained(save_directory, **options)  # type: ignore[no-any-return]

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Saves the model as `save_pretrained` does, and uploads it to a repository of the Hugging Face hub.

        Args:
            repo_id: name, such as "me/my-vae"; made if there is none.
            **options: of `huggingface_hub.ModelHubMixin.push_to_hub`: `private`, `token`, `commit_message` and others.

        Returns:
            The address of the commit.
        """
        return cast(str, _hub().SharedModel(self, repo_id).push_to_hub(repo_id, **options))

    @classmethod
    def from_pretrained(cls, name: str | Path, *, map_location: Any = "cpu", **options: Any) -> Self:
        """The model in a folder or a repository of the Hugging Face hub, in evaluation mode.

        Nothing in it is run; classes of your own are known once the module that defines them is imported.

        Args:
            name: a folder that `save_pretrained` wrote, or the name of a repository, such as "me/my-vae".
            map_location: device to load to.
            **options: of `huggingface_hub.ModelHubMixin.from_pretrained`: `revision`, `token`, `cache_dir`,
                `local_files_only` and others.

        Raises:
            ModuleNotFoundError: if the extra `hub` is not installed.
            FileNotFoundError: if there is no such folder, and the hub cannot give the repository.
            ValueError: if it is not complete, damaged, or holds another kind of model.

        Example:
            >>> import tempfile
            >>> from skipvae import VAE
            >>> from skipvae.decoders import MLPDecoder
            >>> from skipvae.encoders import MLPEncoder
            >>> folder = tempfile.mkdtemp()
            >>> VAE(MLPEncoder(2, (5,), hidden_dim=8), MLPDecoder(2, (5,), hidden_dim=8)).save_pretrained(folder)
            >>> VAE.from_pretrained(folder).sample(3).shape
            torch.Size([3, 5])
        """
        content = _hub().content_of(name, **options)
        return cls.from_content(content, name, map_location)


def _hub() -> Any:
    require("sharing", "hub", ("huggingface_hub", "safetensors"))
    from skipvae.models import hub

    return hub
