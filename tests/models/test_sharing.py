"""Models as folders and repositories of the Hugging Face hub; nothing here needs a network."""

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader, TensorDataset

from skipvae import VAE, Autoregressive
from skipvae.decoders import LSTMDecoder, MLPDecoder
from skipvae.encoders import LSTMEncoder, MLPEncoder
from skipvae.models import GenerativeModel
from skipvae.table.codec import TableCodec
from skipvae.text.codec import TextCodec
from tests.command_line import ROOT, contents, log_likelihood, plain
from tests.export.test_export import VOCABULARY
from tests.faults.hostile import Bomb

pytest.importorskip("safetensors", reason="needs pip install 'skipvae[hub]'")
FILES = {"README.md", "config.json", "model.safetensors"}
TEXT: dict[str, Any] = {"vocab_size": 9, "embedding_dim": 4, "hidden_dim": 6}
COLUMNS = json.dumps({"names": ["height", "mass"], "mean": [170.0, 70.0], "scale": [10.0, 5.0]})


def table() -> VAE:
    model = VAE(MLPEncoder(2, (2,), 8), MLPDecoder(2, (2,), 8, skip=True), free_bits=0.25)
    model.codecs["columns"] = COLUMNS
    return model


def text() -> VAE:
    model = VAE(LSTMEncoder(2, **TEXT), LSTMDecoder(2, **TEXT))
    model.codecs["vocabulary"] = VOCABULARY
    return model


SENTENCES = torch.tensor([[2, 4, 5, 6, 7, 3], [2, 8, 4, 3, 0, 0]])
MODELS: dict[str, tuple[Callable[[], GenerativeModel], torch.Tensor]] = {
    "images": (lambda: VAE(MLPEncoder(2, (1, 4, 4), 8), MLPDecoder(2, (1, 4, 4), 8)), torch.ones(3, 1, 4, 4)),
    "table": (table, torch.ones(3, 2)),
    "text": (text, SENTENCES),
    "language model": (lambda: Autoregressive(LSTMDecoder(0, **TEXT)), SENTENCES),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_gives_the_same_model_back(name: str, tmp_path: Path) -> None:
    make, x = MODELS[name]
    model, folder = make(), tmp_path / "deep" / "model"
    assert model.save_pretrained(folder) is None
    assert {path.name for path in folder.iterdir()} == FILES
    for kind in (type(model), GenerativeModel):
        found: Any = kind.from_pretrained(folder)
        assert not found.training
        assert found.spec == model.spec
        assert found.codecs == model.codecs
        assert log_likelihood(found, x) == log_likelihood(model.eval(), x)
    if name == "text":
        assert TextCodec.of(found).decode(x) == ["let there be light", "and let"]
    if name == "table":
        assert TableCodec.of(found).names == ["height", "mass"]
    card = (folder / "README.md").read_text()
    header, body = card.removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(header)["license"] == "mit"
    assert "skipvae" in yaml.safe_load(header)["tags"]
    assert f'skipvae.{type(model).__name__}.from_pretrained("model")' in body
    assert "## Results" not in card


# -- the card of a run ------------------------------------------------------------------------------------------------


def test_the_card_of_a_run_has_the_results_of_this_checkpoint_and_its_config(tiny_run: Path) -> None:
    best, last = (VAE.load_from_checkpoint(tiny_run / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    best.save_pretrained("untested")
    assert "This model has not been tested." in Path("untested/README.md").read_text()
    plain(["test", "--ckpt_path=best", "--trainer.enable_progress_bar=false", "--trainer.logger=false"])
    results = json.loads((tiny_run / "metrics.json").read_text())
    best.save_pretrained("best", model_card_kwargs={"license": "cc0-1.0", "tags": ["digits"]})
    card = Path("best/README.md").read_text()
    elbo = next(line for line in card.splitlines() if line.startswith("| ELBO |"))
    assert f"| {results['elbo']:.3f} ± {results['elbo_stderr']:.3f} | nats | evidence lower bound" in elbo
    assert "examples of `datamodules.MNISTDigitsDataModule`, nats per example" in card
    assert f"log p(x) is {results['measure']}" in card
    assert "license: cc0-1.0" in card
    assert "- digits" in card
    training = yaml.safe_load(Path("best/training.yaml").read_text())
    assert training["model"]["init_args"]["decoder"]["init_args"]["hidden_dim"] == 8
    assert str(tiny_run.resolve().parent) not in card
    assert "skipvae fit --config training.yaml" in card
    last.save_pretrained("last")
    assert "another checkpoint of its run has: best.ckpt" in Path("last/README.md").read_text()
    assert VAE.from_pretrained("best").source is None


def test_a_model_that_was_trained_further_is_no_longer_its_checkpoint(tiny_run: Path) -> None:
    model = VAE.load_from_checkpoint(tiny_run / "checkpoints/best.ckpt")
    assert model.source == (tiny_run / "checkpoints/best.ckpt").resolve()
    options: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_steps=1, accelerator="cpu", enable_checkpointing=False, **options)
    trainer.fit(model, DataLoader(TensorDataset(torch.ones(2, 1, 28, 28)), batch_size=2))
    assert model.source is None


# -- whole or as before -----------------------------------------------------------------------------------------------


def test_a_save_that_fails_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skipvae.models import hub

    folder = tmp_path / "model"
    table().save_pretrained(folder)
    (folder / "README.md").write_text("my own words")
    before = contents(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(hub, "card_of", full)
        for path in (folder, tmp_path / "new"):
            (path / "README.md").unlink(missing_ok=True)
            with pytest.raises(OSError, match="No space left"):
                table().save_pretrained(path)
    (folder / "README.md").write_text("my own words")
    assert contents(tmp_path) == before
    other = table()
    other.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "my own words"
    assert contents(folder).keys() == FILES
    assert log_likelihood(VAE.from_pretrained(folder), torch.ones(2, 2)) == log_likelihood(other, torch.ones(2, 2))
    with pytest.raises(ValueError, match="is a file"):
        other.save_pretrained(folder / "config.json")


def test_weights_that_are_not_finite_are_not_shared(tmp_path: Path) -> None:
    model = table()
    torch.nn.init.constant_(model.decoder.input.weight, torch.nan)
    with pytest.raises(FloatingPointError):
        model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


# -- folders of strangers ---------------------------------------------------------------------------------------------


def rewrite(folder: Path, change: Callable[[Any], Any], weights: bytes | None = None) -> None:
    """Other weights and another description, with the right checksum."""
    config = json.loads((folder / "config.json").read_text())
    weights = (folder / "model.safetensors").read_bytes() if weights is None else weights
    change(config["skipvae"])
    described = json.dumps(config["skipvae"], sort_keys=True).encode()
    config["sha256"] = hashlib.sha256(weights + described).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(weights)


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Another config.json, with the checksum of before."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def decoder_of(description: Any) -> Any:
    return description["model"]["init_args"]["decoder"]


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "there is no config.json in"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "there is no model.safetensors in"),
    "half a config": (lambda f: (f / "config.json").write_text('{"skipvae": {'), "config.json is damaged or not of"),
    "a list": (lambda f: (f / "config.json").write_text("[1]"), "config.json is damaged or not of"),
    "bytes": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "config.json is damaged or not of"),
    "deep": (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json is damaged or not of"),
    "another library": (lambda f: edit(f, lambda c: c.pop("skipvae")), "was not written by skipvae"),
    "one byte": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1] + b"?"),
        "is not complete or damaged: save or download it again",
    ),
    "one number": (
        lambda f: edit(f, lambda c: c["skipvae"]["model"]["init_args"].update(free_bits=0.75)),
        "is not complete or damaged: save or download it again",
    ),
    "pickled code": (lambda f: rewrite(f, lambda d: d, pickle.dumps(Bomb())), "is not complete or damaged"),
    "a list of models": (lambda f: rewrite(f, lambda d: d.update(model=[1])), "was not written by skipvae"),
    "an unknown class": (
        lambda f: rewrite(f, lambda d: decoder_of(d).update(class_path="os.system")),
        "the class os.system is not known here: import the module that defines it",
    ),
    "a huge model": (
        lambda f: rewrite(f, lambda d: decoder_of(d)["init_args"].update(hidden_dim=10**6)),
        "describes a model that cannot be built: it is larger than the one whose weights the file holds",
    ),
    "another model": (
        lambda f: rewrite(f, lambda d: decoder_of(d)["init_args"].update(num_layers=1)),
        "does not fit the model",
    ),
    "arguments": (lambda f: edit(f, lambda c: c.update(model=1, files=["x"], name="y")), ""),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_or_foreign_folder_is_refused_in_one_line(
    name: str, workspace: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damage, message = DAMAGE[name]
    table().save_pretrained("model")
    damage(Path("model"))
    if not message:
        assert VAE.from_pretrained("model")
        return
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        VAE.from_pretrained("model")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not Path("exploded").exists()


def test_a_folder_of_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    MODELS["language model"][0]().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"skipvae.Autoregressive is not a skipvae.VAE"):
        VAE.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["me/no-such-model", "no/such/folder", "./none"])
def test_a_name_that_leads_nowhere_is_an_error_of_one_line(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"there is no folder {name}, and the hub") as error:
        VAE.from_pretrained(name, local_files_only=True)
    assert "\n" not in str(error.value)


# -- the hub ----------------------------------------------------------------------------------------------------------


class Hub:
    """A hub that keeps what is uploaded in the working folder."""

    def __init__(self, token: str | None = None) -> None:
        self.repo_id = ""

    def create_repo(self, repo_id: str, **_: Any) -> Any:
        self.repo_id = repo_id
        return self

    def upload_folder(self, repo_id: str, folder_path: Path, commit_message: str, **_: Any) -> str:
        shutil.copytree(folder_path, Path("hub", repo_id))
        return f"hub/{repo_id}: {commit_message}"


def test_what_is_pushed_is_what_can_be_loaded(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    model = table()
    assert model.push_to_hub("me/mine", commit_message="first") == "hub/me/mine: first"
    assert 'from_pretrained("me/mine")' in Path("hub/me/mine/README.md").read_text()
    assert VAE.from_pretrained("hub/me/mine").spec == model.spec
    url = model.save_pretrained("here", push_to_hub=True, repo_id="me/again", private=True)
    assert url.startswith("hub/me/again: ")
    assert contents(Path("hub/me/again")).keys() == contents(Path("here")).keys() == FILES
    with pytest.raises(ValueError, match="leave config out"):
        model.push_to_hub("me/other", config={"a": 1})


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skipvae.errors.find_spec", lambda name: None if name == "safetensors" else name)
    for action in (table().save_pretrained, VAE.from_pretrained):
        with pytest.raises(ModuleNotFoundError, match=r"needs safetensors, .*: pip install 'skipvae\[hub\]'"):
            action(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_commands_do_not_wait_for_the_library() -> None:
    code = "import sys, skipvae.models, skipvae.cli.generate; assert 'huggingface_hub' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
