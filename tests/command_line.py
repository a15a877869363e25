"""Runs so small that they take a second, by the command line: for the tests of what crosses modules."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from torch import Tensor

from datamodules import MNISTDigitsDataModule
from skipvae import VAE
from skipvae.callbacks import ImageGrids, LatentPictures, TablePlots
from skipvae.cli import main, run
from skipvae.models import GenerativeModel

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "quickstart" / "mlp.yaml"
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
TINY_MODEL = (
    "--model.encoder.hidden_dim=8",
    "--model.decoder.hidden_dim=8",
    "--model.decoder.num_layers=2",
    "--model.decoder.latent_dim=3",
)
TINY_DATA = ("--data.train_size=200", "--data.batch_size=50", "--data.eval_batch_size=250")
STEPS_PER_EPOCH = 4
TINY = ("--config", str(CONFIG), "--name=tiny", *QUIET, *TINY_MODEL, *TINY_DATA, "--trainer.log_every_n_steps=3")
RUN = Path("lightning_logs/tiny/version_0")


def fit(*options: str, epochs: int = 1, callbacks: Sequence[Callback] = ()) -> Any:
    """Trains a tiny model on 200 digits, four steps an epoch; the CLI object, which holds `model` and `trainer`."""
    return plain(["fit", *TINY, f"--trainer.max_epochs={epochs}", *options], callbacks)


def resume(*options: str, epochs: int = 1) -> Any:
    """Goes on with the last run in the working folder."""
    return plain(["fit", "--ckpt_path=last", *QUIET, f"--trainer.max_epochs={epochs}", *options])


@cache
def digits(load: Callable[[Any], Any] = MNISTDigitsDataModule.load) -> Any:
    """The embedded data, read once."""
    return load(MNISTDigitsDataModule())


def plain(args: list[str], callbacks: Sequence[Callback] = ()) -> Any:
    """Runs a command without what takes as long as the rest of a tiny run: drawing, and reading the digits again."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(MNISTDigitsDataModule, "load", lambda _: digits())
        for pictures in (ImageGrids, LatentPictures, TablePlots):
            for draw in ("draw", "draw_last"):
                monkeypatch.setattr(pictures, draw, lambda *_: None)
        return run(args, callbacks)


def error_of(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line that a command fails with; checks the exit status and that there is no traceback."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        main(overridden([str(arg) for arg in args]))
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith("skipvae: error: ")
    assert said.count("skipvae: error:") == 1
    return last.removeprefix("skipvae: error: ")


def overridden(args: Sequence[str]) -> list[str]:
    """Without what a later `--option=value` replaces: a user may say a thing once only."""
    names = [arg.partition("=")[0] if "=" in arg and arg.startswith("--") else "" for arg in args]
    replaced = [name not in ("", "--config") and name in names[i + 1 :] for i, name in enumerate(names)]
    return [arg for arg, gone in zip(args, replaced, strict=True) if not gone]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def log_likelihood(model: Any, x: Tensor) -> list[float]:
    """The same numbers for the same model and data, in every process."""
    torch.manual_seed(0)
    options = {"num_samples": 3} if isinstance(model, VAE) else {}
    with torch.no_grad():
        return [float(value) for value in model.log_likelihood(x, **options)]


class OtherProcess:
    """Another Python process, which knows nothing but the paths that it is told; one for many questions."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.command_line"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def log_likelihood(self, checkpoint: Path, x: Tensor) -> list[float]:
        """What a model reloaded there makes of x."""
        data = Path(checkpoint).resolve().with_suffix(".x.pt")
        torch.save(x, data)
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([str(Path(checkpoint).resolve()), str(data)]), file=self._process.stdin, flush=True)
        answer: list[float] = json.loads(self._process.stdout.readline())
        return answer

    def stop(self) -> None:
        """Ends the process."""
        self._process.communicate()


def answer_questions() -> None:
    """What the other process does."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        checkpoint, data = json.loads(line)
        model = GenerativeModel.load_from_checkpoint(checkpoint)
        print(json.dumps(log_likelihood(model, torch.load(data, weights_only=True))), flush=True)


if __name__ == "__main__":
    answer_questions()
