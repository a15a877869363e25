"""The command `skipvae export`."""

import json
from pathlib import Path

import pytest
import torch

from skipvae import VAE
from skipvae.cli import main
from tests.command_line import error_of


def test_it_writes_the_networks_of_a_run_and_says_how_close_they_are(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["export", "--ckpt_path", "best", "--format", "torch_export", "--output", "new/files"])
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("encoder.pt2: x -> mean, logvar; largest difference from the model ")
    assert second.startswith("decoder.pt2: z -> parameters, mean; largest difference from the model ")
    assert last == "wrote new/files: encoder.pt2, decoder.pt2, pictures.json, export.json"
    record = json.loads(Path("new/files/export.json").read_text())
    assert record["source"] == str(tiny_run / "checkpoints/best.ckpt")
    assert record["files"]["decoder.pt2"]["outputs"][1]["shape"] == ["batch", 1, 28, 28]
    model = VAE.load_from_checkpoint(record["source"])
    x = torch.rand(7, 1, 28, 28)
    mean, _ = torch.export.load("new/files/encoder.pt2").module()(x)
    torch.testing.assert_close(mean, model.infer(x).mean)


def test_mistakes_are_answered_before_the_work(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    options = ["export", "--ckpt_path=best", "--format=torch_export"]
    assert "file is a file: give the name of a folder" in error_of(capsys, *options, "--output=file")
    assert "tolerance is 0.0: give a number above 0" in error_of(capsys, *options, "--tolerance=0")
    assert "format" in error_of(capsys, "export", "--ckpt_path=best")
    wrong = error_of(capsys, "export", "--ckpt_path=best", "--format=tflite")
    assert wrong == "format is 'tflite': choose from onnx, torch_export"
    assert sorted(path.name for path in Path().iterdir()) == ["file", "lightning_logs"]
