import csv
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from skipvae.callbacks import BestAndLast, ImageGrids, LatentPictures, PredictionWriter, Report, TablePlots
from skipvae.cli import GENERATE_COMMANDS, TRAINER_COMMANDS, USAGE, main
from tests.callbacks.tiny import read_events
from tests.command_line import CONFIG, QUIET, RUN, TINY, error_of, fit, plain


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """What a command that ends well prints."""
    capsys.readouterr()
    with suppress(SystemExit):  # as parsers end that have printed
        main(list(args))
    return capsys.readouterr().out


def metrics_of(cli: Any) -> dict[str, float]:
    return {name: float(value) for name, value in cli.trainer.callback_metrics.items()}


# -- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [[], ["-h"], ["--help"]])
def test_usage_names_every_command(capsys: pytest.CaptureFixture[str], args: list[Any]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(args)
    assert exit_.value.code == (0 if args else 2)
    assert capsys.readouterr().out.strip() == USAGE.strip()
    for command in (*TRAINER_COMMANDS, *GENERATE_COMMANDS, "study"):
        assert re.search(rf"^  {command}\b", USAGE, re.MULTILINE)


@pytest.mark.parametrize("command", [*TRAINER_COMMANDS, *GENERATE_COMMANDS])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: Any) -> None:
    said = printed(capsys, command, "--help")
    assert "usage:" in said
    assert "--ckpt_path" in said
    if command in TRAINER_COMMANDS:
        for option in ("--config", "--print_config", "--model", "--data", "--name", "--trainer.max_epochs"):
            assert option in said
    else:
        assert ("--port" if command == "explore" else "--output") in said


def test_the_version_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(r"skipvae \d+\.\d+\.\d+\n", printed(capsys, "--version"))


def test_a_wrong_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no command train: choose from fit, " in error_of(capsys, "train")


# -- configs ----------------------------------------------------------------------------------------------------------


def test_print_config_prints_a_config_that_says_the_same(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = printed(capsys, "fit", *TINY, "--print_config")
    Path("printed.yaml").write_text(first)
    assert printed(capsys, "fit", "--config", "printed.yaml", "--print_config") == first
    config = yaml.safe_load(first)
    assert config["model"]["init_args"]["decoder"]["init_args"]["latent_dim"] == 3
    assert config["trainer"]["gradient_clip_val"] == 5.0
    assert os.listdir() == ["printed.yaml"]


def test_sizes_are_written_once(tiny_run: Path) -> None:
    for path in (CONFIG, tiny_run / "config.yaml"):
        model = yaml.safe_load(path.read_text())["model"]["init_args"]
        assert "latent_dim" in model["decoder"]["init_args"]
        assert "latent_dim" not in model["encoder"]["init_args"]
        assert "image_shape" not in path.read_text()


def test_one_override_makes_it_a_skip_vae(workspace: Path) -> None:
    cli = fit("--model.decoder.skip=true", "--trainer.fast_dev_run=true")
    assert cli.model.decoder.skip
    assert cli.model.spec["init_args"]["decoder"]["init_args"]["skip"] is True
    assert not Path("lightning_logs").exists()


def test_the_saved_config_repeats_the_run(tiny_run: Path) -> None:
    saved = tiny_run / "config.yaml"
    before = (tiny_run / "checkpoints/last.ckpt").read_bytes()
    again = plain(["fit", "--config", str(saved)])
    assert (tiny_run / "checkpoints/last.ckpt").read_bytes() == before
    other = RUN.parent / "version_1"
    first, second = (
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (tiny_run, other)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    logged = read_events(tiny_run).Scalars("val/elbo")
    assert [event.value for event in logged][-1] == pytest.approx(metrics_of(again)["val/elbo"], rel=1e-7)
    assert yaml.safe_load(saved.read_text()) == yaml.safe_load((other / "config.yaml").read_text())


def test_a_run_folder_holds_what_it_should(tiny_run: Path) -> None:
    names = {path.name for path in tiny_run.iterdir()}
    assert {"config.yaml", "checkpoints"} <= names
    assert {path.name for path in (tiny_run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    events = read_events(tiny_run)
    scalars = events.Tags()["scalars"]
    assert {"train/loss", "train/beta", "val/elbo", "val/kl", "val/reconstruction", "val/mi", "val/au"} <= set(scalars)
    assert {"images/reconstructions", "images/samples", "images/traversals"} <= set(events.Tags()["images"])
    command, config = (
        events.Tensors(f"run/{name}/text_summary")[0].tensor_proto.string_val[0].decode()
        for name in ("command", "config")
    )
    assert command.startswith("~~~~\nskipvae fit \\\n    --config ")
    assert "class_path: skipvae.decoders.MLPDecoder" in config


def test_fit_says_what_to_do_next(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit()
    said = capsys.readouterr().out
    command = next(line for line in said.splitlines() if "skipvae test" in line).partition("skipvae ")[2].split()
    assert plain([*command, "--trainer.limit_test_batches=1"]).model.results["num_examples"] == 250


def test_without_a_logger_no_config_is_written(workspace: Path) -> None:
    Path("config.yaml").write_text("# mine\n" + CONFIG.read_text())
    before = Path("config.yaml").read_text()
    fit("--config=config.yaml", "--trainer.logger=false", "--trainer.max_steps=2")
    assert Path("config.yaml").read_text() == before


# -- the same seed, the same run --------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run_whoever_watches(workspace: Path, trained: Path) -> None:
    logged = [event.value for event in read_events(trained).Scalars("val/elbo")][-1]
    bare = fit("--trainer.logger=false", epochs=2)
    watched = fit("--trainer.enable_progress_bar=true", "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=csv")
    metrics = metrics_of(bare)
    assert np.float32(metrics["val/elbo"]) == np.float32(logged)
    with next(Path("csv").rglob("metrics.csv")).open() as file:
        rows = [row["val/elbo"] for row in csv.DictReader(file) if row["val/elbo"]]
    assert float(rows[-1]) == metrics_of(watched)["val/elbo"]
    first = torch.load(trained / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(first[name], weight) for name, weight in bare.model.state_dict().items())


def test_another_seed_gives_another_run(workspace: Path) -> None:
    one, other = (metrics_of(fit(f"--seed_everything={seed}", "--trainer.logger=false")) for seed in (1, 2))
    assert one["val/elbo"] != other["val/elbo"]
    assert one["train/loss"] != other["train/loss"]


def test_a_seed_that_is_drawn_is_written_down_for_all(workspace: Path) -> None:
    cli = fit("--seed_everything=true", "--trainer.logger=false", "--trainer.max_steps=1")
    config = cli.config["fit"]
    assert type(config["seed_everything"]) is int
    assert config["data"]["init_args"]["seed"] == cli.datamodule.seed == config["seed_everything"]


# -- other people's classes -------------------------------------------------------------------------------------------

PLUGIN = """
import torch
from datamodules import MNISTDigitsDataModule
from skipvae import VAE
from skipvae.decoders import MLPDecoder


class Model(VAE):
    def __init__(self, favourite: str = "none", **kwargs):
        super().__init__(**kwargs)
        self.favourite = favourite


class Decoder(MLPDecoder):
    def __init__(self, scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def logits(self, x, z):
        return self.scale * super().logits(x, z)


class Data(MNISTDigitsDataModule):
    image_shape = (1, 14, 14)

    def load(self):
        return type(splits := super().load())(*(s._replace(images=s.images[..., ::2, ::2]) for s in splits))
"""


def test_classes_of_the_user(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my_plugin.py").write_text(PLUGIN)
    args = [*TINY, "--model=my_plugin.Model", *(arg for arg in TINY if arg.startswith("--model."))]
    args += ["--model.favourite=green", "--model.decoder=my_plugin.Decoder", "--model.decoder.scale=0.5"]
    args += ["--data=my_plugin.Data", "--trainer.max_epochs=1"]
    cli = plain(["fit", *args])
    assert type(cli.model).__name__ == "Model"
    assert cli.model.decoder.image_shape == (1, 14, 14)
    assert cli.model.spec["init_args"]["favourite"] == "green"
    assert cli.model.spec["init_args"]["decoder"]["init_args"]["scale"] == 0.5
    tested = plain(["test", "--ckpt_path=last", *QUIET])
    assert tested.model.decoder.scale == 0.5
    main(["sample", "--ckpt_path", "last", "--num", "4"])
    assert "wrote samples.png" in capsys.readouterr().out


# -- callbacks --------------------------------------------------------------------------------------------------------

OURS = (BestAndLast, ImageGrids, LatentPictures, PredictionWriter, Report, TablePlots)


def test_callbacks_of_the_user_come_on_top_of_ours(workspace: Path) -> None:
    annealing = "--trainer.callbacks=skipvae.callbacks.LinearKLAnnealing"
    cli = fit(annealing, "--trainer.callbacks.warmup_steps=8", "--trainer.callbacks+=LearningRateMonitor")
    kinds = [type(callback) for callback in cli.trainer.callbacks]
    for ours in OURS:
        assert kinds.count(ours) == 1
    names = [kind.__name__ for kind in kinds]
    assert "LinearKLAnnealing" in names
    assert "LearningRateMonitor" in names


def test_a_progress_bar_of_the_user_replaces_ours(workspace: Path) -> None:
    cli = fit("--trainer.callbacks=RichProgressBar", "--trainer.enable_progress_bar=true", "--trainer.fast_dev_run=1")
    assert type(cli.trainer.progress_bar_callback).__name__ == "RichProgressBar"


def test_settings_of_our_callbacks_are_options(workspace: Path) -> None:
    cli = fit("--checkpoints.monitor=val/kl", "--image_grids.num_images=3", "--trainer.fast_dev_run=true")
    by_kind = {type(callback): callback for callback in cli.trainer.callbacks}
    assert by_kind[BestAndLast].monitor == "val/kl"
    assert by_kind[ImageGrids].num_images == 3
