"""Errors that a user can fix are one line with exit status 2; nothing that exists is overwritten."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from skipvae.cli import main
from tests.command_line import CONFIG, QUIET, RUN, TINY, contents, error_of, overridden

BAD_DATA = """
import torch
from datamodules import MNISTDigitsDataModule


class Wrong(MNISTDigitsDataModule):
    image_shape = (1, 28, 28)

    def load(self):
        return type(splits := super().load())(*(s._replace(images=s.images[..., ::2, ::2]) for s in splits))


class Small(Wrong):
    image_shape = (1, 14, 14)
"""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model.decoder.depth=3"], "depth"),
        (["--trainer.max_epochz=3"], "max_epochz"),
        (["--trainer.max_epochs=many"], "max_epochs"),
        (["--model=skipvae.VAEE"], "VAEE"),
        (["--model.decoder=skipvae.decoders.MLPDecodr"], "MLPDecodr"),
        (["--data=datamodules.NoSuchData"], "NoSuchData"),
        (["--data=nowhere.Data"], "nowhere"),
        (["--data.batch_size=0"], "batch_size=0 must be at least 1"),
        (["--data.binarize=sometimes"], "binarize"),
        (["--model.encoder.latent_dim=5"], "follows from --model.decoder.latent_dim"),
        (["--model.decoder.init_args.image_shape=[1,2,2]"], "follows from the data"),
        (["--data.seed=5"], "follows from --seed_everything"),
        (["--config=no_such_file.yaml"], "no_such_file.yaml"),
        (["--trainer.accelerator=tpu"], "torch_xla"),
        (["--data=FashionMNISTDataModule", "--data.data_dir=empty", "--data.download=false"], "put train-images-idx3"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    workspace: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    Path("empty").mkdir()
    before = sorted(workspace.rglob("*"))
    assert message in error_of(capsys, "fit", *TINY, *args)
    assert sorted(workspace.rglob("*")) == before


def test_an_unknown_key_in_a_config_is_named(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load(CONFIG.read_text())
    config["model"]["init_args"]["decoder"]["init_args"]["num_leyers"] = 3
    Path("typo.yaml").write_text(yaml.safe_dump(config))
    assert "num_leyers" in error_of(capsys, "fit", "--config", "typo.yaml")
    Path("typo.yaml").write_text("trainer: {max_epochs: 1\n")
    assert "line 2, column 1" in error_of(capsys, "fit", "--config", "typo.yaml")
    assert os.listdir() == ["typo.yaml"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("trainer: {max_epochs: 1\n", "is not YAML"), ("name: a\nname: b\n", "name stands twice")],
)
@pytest.mark.parametrize("options", [["--config", "second.yaml"], ["--config=second.yaml"], ["-c", "second.yaml"]])
def test_the_config_with_a_mistake_is_named(
    workspace: Path, capsys: pytest.CaptureFixture[str], options: list[str], content: str, message: str
) -> None:
    Path("second.yaml").write_text(content)
    assert f"second.yaml{':' if 'twice' in message else ''} {message}" in error_of(capsys, "fit", *TINY, *options)


def test_a_corrupt_file_is_named_and_kept(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = Path("data/FashionMNIST/raw")
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte.gz").write_bytes(b"not what was published")
    before = contents(workspace)
    said = error_of(capsys, "fit", *TINY, "--data=FashionMNISTDataModule", "--data.data_dir=data")
    assert "train-images-idx3-ubyte.gz is damaged" in said
    assert before.items() <= contents(workspace).items()


def test_a_batch_that_the_data_cannot_fill_is_one_line(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(tiny_run)
    said = error_of(capsys, "fit", *TINY, "--data.batch_size=201")
    for fact in ("batch_size=201", "200 training examples", "1..200"):
        assert fact in said
    assert contents(tiny_run) == before


def test_without_a_network_it_says_which_files_to_put_where(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: Any, **kwargs: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("datamodules.files.urlopen", no_network)
    said = error_of(capsys, "fit", *TINY, "--data=MNISTDataModule", "--data.data_dir=data")
    assert "put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k" in said
    assert str(workspace / "data/MNIST/raw") in said
    assert not Path("lightning_logs").exists()


def test_images_that_do_not_fit_the_model_are_one_line(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("wrong_data.py").write_text(BAD_DATA)
    said = error_of(capsys, "fit", *TINY, "--data=wrong_data.Wrong")
    for fact in ("train", "(4000, 1, 14, 14)", "image_shape is (1, 28, 28)", "set image_shape to (1, 14, 14)"):
        assert fact in said


@pytest.mark.parametrize("command", ["fit", "test"])
def test_images_that_do_not_fit_a_checkpoint_are_one_line(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    Path("small_data.py").write_text(BAD_DATA)
    before = contents(Path("lightning_logs"))
    start = (*TINY, f"--init_from={RUN}/checkpoints/last.ckpt") if command == "fit" else ("--ckpt_path=last", *QUIET)
    said = error_of(capsys, command, *start, "--data=small_data.Small")
    assert "encoder.layers.0.weight is 8 x 784 there and 8 x 196 here" in said
    assert contents(Path("lightning_logs")) == before


STRANGE_DATA = """
import torch
from datamodules import MNISTDigitsDataModule


class Loaded(MNISTDigitsDataModule):
    def train_dataloader(self):
        return torch.utils.data.DataLoader([self.of(x) for x in torch.rand(60, 1, 28, 28).round()], batch_size=20)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


class Bytes(Loaded):
    def of(self, x):
        return (x * 255).byte(), 0


class Signed(Loaded):
    def of(self, x):
        return 2 * x - 1, 0


class Bare(Loaded):
    def of(self, x):
        return x


class Pair(Loaded):
    def of(self, x):
        return x, 0


class Broken(Loaded):
    def of(self, x):
        raise ValueError("no such digit")
"""


@pytest.mark.parametrize(
    ("command", "data", "message"),
    [
        ("fit", "Bytes", "values must be floats from 0 to 1, but are uint8 from 0 to 255: scale them"),
        ("test", "Signed", "values must be floats from 0 to 1, but are float32 from -1 to 1"),
        ("fit", "Bare", "a batch must be a tuple whose first entry is the tensor x, but is a Tensor"),
        ("predict", "Pair", "batches to predict must be (x, label, id), but have 2 entries"),
        ("fit", "Broken", "strange_data.py:35; SKIPVAE_TRACEBACK=1"),
    ],
)
def test_data_that_is_no_use_is_one_line(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], command: str, data: str, message: str
) -> None:
    Path("strange_data.py").write_text(STRANGE_DATA)
    start = TINY if command == "fit" else ("--ckpt_path=last", *QUIET)
    assert message in error_of(
        capsys, command, *start, f"--data=strange_data.{data}", "--trainer.num_sanity_val_steps=0"
    )


@pytest.mark.parametrize("callback", ["ModelCheckpoint", "EarlyStopping"])
def test_a_callback_that_takes_a_larger_elbo_for_a_worse_one_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str], callback: str
) -> None:
    args = [f"--trainer.callbacks+={callback}", "--trainer.callbacks.monitor=val/elbo"]
    assert f"{callback} follows an ELBO" in error_of(capsys, "fit", *TINY, *args)


def test_the_line_of_a_text_that_is_not_utf_8_is_named(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("latin.txt").write_bytes(b"one\ncaf\xe9\n")
    config = CONFIG.parents[1] / "verses" / "vae_small.yaml"
    args = ["--config", str(config), "--data=datamodules.TextDataModule", "--data.train=latin.txt"]
    assert "latin.txt, line 2, byte 4" in error_of(capsys, "fit", *args)


@pytest.mark.parametrize(("command", "needs"), [("fit", "--config FILE"), ("test", "--ckpt_path FILE")])
def test_a_command_alone_says_what_it_needs(
    workspace: Path, capsys: pytest.CaptureFixture[str], command: str, needs: str
) -> None:
    assert needs in error_of(capsys, command)


NAN = """
import math
from skipvae import VAE


class Explodes(VAE):
    def loss(self, x):
        terms = super().loss(x)
        if self.global_step == 6:
            terms["kl"] = terms["kl"] * math.nan
            terms["loss"] = terms["kl"] - terms["reconstruction"]
        return terms
"""


def test_a_loss_that_is_no_number_is_one_line_and_the_last_good_checkpoint_stays(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("explosive.py").write_text(NAN)
    args = [*TINY, "--model=explosive.Explodes", *(arg for arg in TINY if arg.startswith("--model."))]
    said = error_of(capsys, "fit", *args, "--trainer.max_epochs=3")
    assert said.startswith("the kl became nan at step 6: ")
    saved = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    assert all(weight.isfinite().all() for weight in saved["state_dict"].values())
    assert (RUN / "checkpoints/best.ckpt").is_file()


def test_our_own_errors_keep_their_traceback(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("skipvae.models.VAE.training_step", broken)
    with pytest.raises(KeyError):
        main(["fit", *TINY])


def test_a_traceback_can_be_had(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIPVAE_TRACEBACK", "1")
    with pytest.raises(ValueError, match="batch_size=0"):
        main(overridden(["fit", *TINY, "--data.batch_size=0"]))


@pytest.mark.parametrize(
    ("config", "data", "said"),
    [
        ("mnist/pixelcnn_small.yaml", "datamodules.VersesDataModule", "does this data set hold images"),
        ("verses/vae_small.yaml", "datamodules.MNISTDigitsDataModule", "does this data set hold text"),
    ],
)
def test_data_of_the_other_kind_is_one_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], config: str, data: str, said: str
) -> None:
    args = ["fit", "--config", str(CONFIG.parents[1] / config), f"--data={data}", "--trainer.logger=false"]
    assert said in error_of(capsys, *args)


def test_a_study_is_no_config(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = CONFIG.parents[1] / "studies/mnist_depth.yaml"
    assert f"{file} is a study, not the config of a run: skipvae study run" in error_of(capsys, "fit", "--config", file)


def test_the_file_of_data_that_a_likelihood_refuses_is_named(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.npy", "val.npy"):
        np.save(name, np.random.default_rng(0).random((40, 1, 8, 8), np.float32))
    sizes = ("--data.train_size=10", "--data.batch_size=5", "--data.eval_batch_size=5")
    options = ("--data=ArrayDataModule", "--data.train=train.npy", "--model.decoder.likelihood=Categorical", *sizes)
    assert error_of(capsys, "fit", *TINY, *options).startswith("train.npy: ")
    assert error_of(capsys, "fit", *TINY, *options, "--data.val=val.npy").startswith("val.npy: ")
    unvalidated = ("--data.val=val.npy", "--trainer.limit_val_batches=0")
    assert error_of(capsys, "fit", *TINY, *options, *unvalidated).startswith("train.npy: ")
