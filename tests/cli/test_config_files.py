"""The files of `--config` and their bases make one config."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from skipvae import cli
from skipvae.cli.config_files import read_config, with_one_config
from tests.command_line import CONFIG, QUIET, ROOT, TINY, error_of, fit, plain

VERSES = str(ROOT / "configs/verses/vae_small.yaml")


@pytest.fixture
def files(workspace: Path) -> Any:
    """Writes files by name."""

    def write(**contents: str) -> None:
        for name, content in contents.items():
            path = Path(f"{name.replace('__', '/')}.yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)

    return write


def test_a_base_is_read_relative_to_the_file_that_names_it(files: Any) -> None:
    files(
        shared__all="name: all\nseed_everything: 1\ntrainer: {max_epochs: 1, gradient_clip_val: 5.0}\n",
        shared__more="base: all.yaml\nname: more\ntrainer.max_epochs: 2\n",
        other="data: {class_path: datamodules.TextDataModule}\nseed_everything: 3\n",
        own__run="base: [../shared/more.yaml, ../other.yaml]\ntrainer: {max_time: null}\n",
    )
    assert read_config(Path("own/run.yaml")) == {
        "name": "more",
        "seed_everything": 3,
        "trainer": {"max_epochs": 2, "gradient_clip_val": 5.0, "max_time": None},
        "data": {"class_path": "datamodules.TextDataModule"},
    }


def test_a_base_and_several_configs_are_the_same_and_options_win(files: Any) -> None:
    base, own = f"base: {CONFIG}\n", "name: tiny\nmodel.decoder: {latent_dim: 3, hidden_dim: 8}\ndata.batch_size: 7\n"
    files(own=base + own, alone=own)
    found = cli.parse(["fit", "--config", "own.yaml", "--data.batch_size=9"])
    assert found == cli.parse(["fit", f"--config={CONFIG}", "--data.batch_size=9", "-c", "alone.yaml"])
    decoder = found["model"]["init_args"]["decoder"]["init_args"]
    assert (decoder["latent_dim"], decoder["hidden_dim"], decoder["num_layers"]) == (3, 8, 8)
    assert found["data"]["init_args"]["batch_size"] == 9
    assert "base" not in found


def test_a_run_holds_the_whole_config_and_is_resumed_and_changed_as_ever(
    files: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    files(mine=f"base: {CONFIG}\nname: tiny\nmodel.decoder: {{latent_dim: 3, num_layers: 2}}\n")
    options = [*TINY[2:], "--config=mine.yaml"]
    plain(["fit", *(option for option in options if "decoder" not in option), "--trainer.max_epochs=1"])
    saved = yaml.safe_load(Path("lightning_logs/tiny/version_0/config.yaml").read_text())
    assert "base" not in saved
    assert saved["model"]["init_args"]["decoder"]["init_args"]["num_layers"] == 2
    assert saved["trainer"]["gradient_clip_val"] == 5.0
    files(mine="name: gone")
    assert plain(["fit", "--ckpt_path=last", *QUIET, "--trainer.max_epochs=2"]).trainer.global_step == 8


def test_sections_may_lie_in_files_of_their_own(files: Any) -> None:
    files(parts__data="class_path: datamodules.TextDataModule\n", parts__run="data: data.yaml\nname: data.yaml\n")
    assert read_config(Path("parts/run.yaml")) == {
        "data": {"class_path": "datamodules.TextDataModule"},
        "name": "data.yaml",
    }


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"run": "base: run.yaml"}, "run.yaml: its base run.yaml is itself based on run.yaml: remove one of the two"),
        (
            {"run": "base: a.yaml", "a": "base: b.yaml", "b": "base: [a.yaml]"},
            "b.yaml: its base a.yaml is itself based on b.yaml: remove one of the two",
        ),
        ({"run": "base: none.yaml"}, "run.yaml: its base none.yaml does not exist"),
        ({"run": "base: a.yaml", "a": "- 1"}, "run.yaml: its base a.yaml holds no settings"),
        ({"run": "base: a.yaml", "a": ""}, "run.yaml: its base a.yaml holds no settings"),
        ({"run": "base: a.yaml", "a": "name: [x"}, "a.yaml is not YAML"),
        ({"run": "base: a.yaml", "a": "modle: {}"}, "a.yaml: there is no setting modle: did you mean model?"),
        ({"run": "base: a.yaml", "a": "models: {}"}, "a.yaml is a study, not the config of a run"),
        ({"run": "bsae: a.yaml"}, "run.yaml: there is no setting bsae: did you mean base?"),
        ({"run": "base: 3"}, "run.yaml: base is to be a file or a list of files, relative to this one, not [3]"),
        ({"run": "base:"}, "run.yaml: base is to be a file or a list of files, relative to this one, not [None]"),
        ({"run": "base: {a: 1}"}, "run.yaml: base is to be a file or a list of files"),
        ({"run": ""}, "the config run.yaml holds no settings such as model and data"),
        ({}, "there is no config run.yaml"),
    ],
)
def test_what_is_no_config_is_one_line_that_names_the_files(
    files: Any, capsys: pytest.CaptureFixture[str], contents: dict[str, Any], said: str
) -> None:
    files(**contents)
    before = sorted(Path().rglob("*"))
    assert error_of(capsys, "fit", "--config", "run.yaml").startswith(said)
    assert sorted(Path().rglob("*")) == before


def test_a_class_that_replaces_another_is_named_in_full(files: Any, capsys: pytest.CaptureFixture[str]) -> None:
    files(run=f"base: {CONFIG}\nmodel.class_path: Autoregressive\n")
    said = error_of(capsys, "fit", "--config", "run.yaml")
    assert said.startswith("run.yaml: name the class Autoregressive with its module (MODULE.Autoregressive), since")


def test_a_config_without_a_file_is_refused_by_the_parser(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--config" in error_of(capsys, "fit", "--config", CONFIG, "--config")


@pytest.mark.parametrize("data", [["--data", "datamodules.TextDataModule"], ["--data=TextDataModule"]])
def test_settings_of_one_corpus_do_not_follow_to_another(data: list[str]) -> None:
    shown = cli.parse(["fit", "--config", VERSES, "--data.batch_size=7", *data, "--data.train=mine.txt"])["data"]
    expected = {"train": "mine.txt", "vocab_size": 20000, "max_length": 200, "train_size": None, "batch_size": 7}
    assert expected.items() <= shown["init_args"].items()


def test_settings_of_one_kind_of_images_do_not_follow_to_another() -> None:
    shown = cli.parse(["fit", f"--config={CONFIG}", "--data=datamodules.OmniglotDataModule", "--data.variant=npz"])
    assert {"batch_size": 50, "variant": "npz"}.items() <= shown["data"]["init_args"].items()


@pytest.mark.parametrize(
    "args",
    [
        ["fit", "--config", VERSES, "--data=datamodules.VersesDataModule"],
        ["fit", "--config", VERSES, "--data=VersesDataModule"],
        ["fit", "--config", VERSES, "--data.train_size=9"],
        ["test", "--config", VERSES, "--data=TextDataModule"],  # whose preprocessing is that of the run
    ],
)
def test_otherwise_they_stay(args: list[Any]) -> None:
    command, config, option = with_one_config(args)
    assert (command, option) == (args[0], args[-1])
    assert yaml.safe_load(config.removeprefix("--config=")) == read_config(Path(VERSES))


def test_a_command_line_without_a_config_stays() -> None:
    args = ["fit", "--data=TextDataModule"]
    assert with_one_config(args) == args


def test_an_option_before_the_config_is_applied(workspace: Path) -> None:
    assert fit("--config", str(CONFIG), "--data.binarize=none").datamodule.binarize == "none"
    first = ["fit", "--model.decoder.num_layers=3", "--trainer.max_epochs=2", "--config", str(CONFIG)]
    assert cli.parse(first)["trainer"]["max_epochs"] == 2


def test_another_class_of_the_module_that_the_config_names_is_known_by_its_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data_of_mine.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)  # type: ignore[no-untyped-call]
    file = tmp_path / "config.yaml"
    file.write_text("data: {class_path: data_of_mine.First, init_args: {seed: 1}}\n", encoding="utf-8")
    with_one_config(["fit", "--config", str(file), "--data", "Second"])
    assert "data_of_mine" in sys.modules
