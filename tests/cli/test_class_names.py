"""A class that a command line or a config names and that does not exist is reported in one line, with the one meant."""

from pathlib import Path

import pytest

from tests.command_line import ROOT, error_of

CONFIG = str(ROOT / "configs/images/folder_small.yaml")


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--model.decoder.likelihood=skipvae.likelihoods.Gausian", "skipvae.likelihoods.Gaussian"),
        ("--model.decoder.likelihood=skipvae.likelihood.Gaussian", "skipvae.likelihoods"),
        ("--model.decoder.likelihood=Gausian", "Gaussian"),
        ("--model.decoder=skipvae.decoders.ResNetDecodr", "skipvae.decoders.ResNetDecoder"),
        ("--model.decoder=ResNetDecodr", "ResNetDecoder"),
        ("--model.encoder=skipvae.encoders.MLPEncodr", "skipvae.encoders.MLPEncoder"),
        ("--model.inference=skipvae.inference.SemiAmortised", "skipvae.inference.SemiAmortized"),
        ("--model.inference=SemiAmortised", "SemiAmortized"),
        ("--model=skipvae.VEA", "skipvae.VAE"),
        ("--data=datamodules.ImageFoldrDataModule", "datamodules.ImageFolderDataModule"),
        ("--data=ImageFoldrDataModule", "ImageFolderDataModule"),
        ("--model.optimizer=torch.optim.Adm", "torch.optim.Adam"),
        ("--model.lr_scheduler=torch.optim.lr_scheduler.ExponentalLR", "torch.optim.lr_scheduler.ExponentialLR"),
        ("--trainer.callbacks=skipvae.callbacks.LinearKLAnealing", "skipvae.callbacks.LinearKLAnnealing"),
    ],
)
def test_the_class_that_was_meant_is_named(
    workspace: Path, capsys: pytest.CaptureFixture[str], option: str, meant: str
) -> None:
    key = option.removeprefix("--").partition("=")[0]
    said = error_of(capsys, "fit", "--config", CONFIG, option)
    assert said.startswith(f"{key}: there is no ")
    assert f"did you mean {meant}?" in said
    if meant.startswith("skipvae.likelihoods."):
        assert said.endswith("Known are Bernoulli, Categorical, ContinuousBernoulli, DiscretizedLogistic, Gaussian")


def test_one_in_a_config_and_one_of_another_kind(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(
        f"base: {CONFIG}\nmodel.decoder.likelihood: {{class_path: skipvae.likelihoods.Gausian}}\n"
    )
    assert "did you mean skipvae.likelihoods.Gaussian?" in error_of(capsys, "fit", "--config=mine.yaml")
    said = error_of(capsys, "fit", "--config", CONFIG, "--model.decoder=skipvae.encoders.MLPEncoder")
    assert said == "model.decoder: skipvae.encoders.MLPEncoder is no Decoder"
    said = error_of(capsys, "fit", "--config", CONFIG, "--model.decoder=mine.Decoder")
    assert said == "model.decoder: there is no module mine: work in the folder of mine.py, or put it on PYTHONPATH"


def test_an_error_within_a_module_of_ones_own_is_not_taken_for_a_misspelling(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine_broken.py").write_text("import torch\ntorch.no_such_thing\n")
    said = error_of(capsys, "fit", "--config", CONFIG, "--model.decoder=mine_broken.Decoder")
    assert "module 'torch' has no attribute 'no_such_thing'" in said
    assert "did you mean" not in said
