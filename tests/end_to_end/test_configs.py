"""Every config that describes a run is run: on tiny data, with narrow layers, for a few steps."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from PIL import Image
from pytorch_lightning import LightningDataModule

from datamodules import ImageDataModule, SentenceDataModule, TableDataModule
from skipvae.cli.config_files import read_config
from skipvae.models import GenerativeModel
from skipvae.persistence.config_merge import merged
from skipvae.persistence.spec import build
from tests.command_line import QUIET, ROOT, OtherProcess, log_likelihood, plain

NARROW = {"hidden_dim": 8, "channels": 4, "embedding_dim": 6, "latent_dim": 3}
"""Sizes that make layers narrow, for as many of these arguments as a config sets. Depths stay as they are."""


def configs_of_runs() -> list[Path]:
    """All but the study files."""
    return [path for path in sorted(ROOT.glob("configs/**/*.yaml")) if "models" not in yaml.safe_load(path.read_text())]


def narrowed(node: Any, path: str) -> Iterator[str]:
    """Overrides that make the layers of a model narrow, wherever in its config their sizes stand."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from narrowed(value, f"{path}.{name}")
        elif name in NARROW and value:  # a latent_dim of 0 says that there is no z
            yield f"--{path}.{name}={[NARROW[name]] * len(value) if isinstance(value, list) else NARROW[name]}"


def own_data(config: dict[str, Any]) -> LightningDataModule:
    """The data that a config names; nothing is read but files that are looked at first, made in the working folder."""
    colors = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    np.savez("images.npz", images=colors)
    Path("pictures").mkdir()
    for number, picture in enumerate(colors):
        Image.fromarray(picture).save(f"pictures/{number}.png")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    data: LightningDataModule = parser.instantiate(parser.parse_object({"data": config["data"]})).data
    return data


def tiny_data(data: LightningDataModule) -> list[str]:
    """Overrides that put tiny data of the same kind, with the same settings, in the place of a config's own.

    A new kind of data needs a case here.
    """
    if isinstance(data, ImageDataModule):
        kind = "PhotoPatchesDataModule" if data.image_shape[0] == 3 else "MNISTDigitsDataModule"
        settings = [f"--data.binarize={data.binarize}"]
        return [f"--data={kind}", "--data.train_size=80", "--data.batch_size=20", *settings]
    if isinstance(data, SentenceDataModule):
        words = torch.randint(20, (100, 6), generator=torch.Generator().manual_seed(0)).tolist()
        Path("corpus.txt").write_text("".join(" ".join(f"word{i}" for i in line) + "\n" for line in words))
        sizes = ["--data.train_size=60", "--data.batch_size=20", "--data.eval_batch_size=5"]
        return ["--data=TextDataModule", "--data.train=corpus.txt", *sizes]
    if isinstance(data, TableDataModule):
        rows = torch.randn(100, 3, generator=torch.Generator().manual_seed(0)).tolist()
        Path("table.csv").write_text("a,b,c\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
        return ["--data.path=table.csv", "--data.batch_size=20"]
    raise NotImplementedError(f"say here what tiny data of the kind {type(data).__name__} is")


@pytest.mark.parametrize("path", configs_of_runs(), ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_a_config_trains_and_its_checkpoint_is_the_same_elsewhere(
    workspace: Path, other_process: OtherProcess, path: Any
) -> None:
    config = read_config(path)
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1"]
    overrides = [*tiny_data(own_data(config)), *narrowed(config["model"], "model"), *short, *QUIET]
    cli = plain(["fit", "--config", str(path), "--trainer.accelerator=cpu", *overrides])
    checkpoint = Path(f"lightning_logs/{config['name']}/version_0/checkpoints/last.ckpt")

    cli.datamodule.setup("test")
    x = next(iter(cli.datamodule.test_dataloader()))[0][:4]
    there = other_process.log_likelihood(checkpoint, x)
    assert all(value < 0 for value in there)
    assert there == pytest.approx(log_likelihood(cli.model.eval(), x), rel=1e-6)

    spec = cli.model.spec
    decoder = spec["init_args"]["decoder"]["init_args"]
    if decoder.get("latent_dim"):
        for skip in (False, True):
            decoder["skip"] = skip
            model = build(spec, GenerativeModel)
            model.loss(x)["loss"].backward()
            assert all(weight.grad is not None for weight in model.parameters()), f"unused weights, skip={skip}"


@pytest.mark.parametrize("path", configs_of_runs(), ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_the_data_of_a_config_says_its_sizes(workspace: Path, path: Any) -> None:
    data = own_data(read_config(path))
    assert isinstance(data, (ImageDataModule, SentenceDataModule, TableDataModule))
    if isinstance(data, ImageDataModule):
        assert len(data.image_shape) == 3


def bases_of(path: Path) -> list[Path]:
    """The files that a config names as its base."""
    named = yaml.safe_load(path.read_text()).get("base", [])
    return [path.parent / base for base in (named if isinstance(named, list) else [named])]


def test_a_reader_follows_two_bases_at_most() -> None:
    def depth(path: Path) -> int:
        return 1 + max((depth(base) for base in bases_of(path)), default=-1)

    assert {depth(path) for path in configs_of_runs()} == {0, 1, 2}


def test_a_base_is_not_repeated() -> None:
    for path in configs_of_runs():
        whole: dict[str, Any] = {}
        for base in bases_of(path):
            whole = merged(whole, read_config(base))
        own = yaml.safe_load(path.read_text())
        for key in own.keys() - {"base"} if whole else ():
            without = {name: value for name, value in own.items() if name not in ("base", key)}
            assert merged(whole, without) != read_config(path), f"{path}: the base says {key}: {own[key]} already"


def test_names_of_runs_differ() -> None:
    names = [read_config(path)["name"] for path in configs_of_runs()]
    assert len(names) == len(set(names)) > 0


def test_the_commands_at_the_top_of_a_config_say_whether_it_skips() -> None:
    rows = 0
    for path in configs_of_runs():
        skips = read_config(path)["model"]["init_args"]["decoder"]["init_args"].get("skip", False)
        assert skips == (path.parent.name in ("images", "table")), f"{path}: of one's own data, one command skips"
        for options, row in re.findall(r"^#   skipvae fit (.*?)\s{3,}(\S*VAE)\b", path.read_text(), re.MULTILINE):
            asked = re.search(r"--model\.decoder\.skip (true|false)", options)
            assert row.startswith("SKIP-") == (asked[1] == "true" if asked else skips), f"{path}: {options}"
            rows += 1
    assert rows > 80
