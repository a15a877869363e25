import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from torchvision.io import ImageReadMode, read_image

from datamodules import MNISTDigitsDataModule
from skipvae import VAE
from skipvae.cli import generate, main, message_filter
from skipvae.models.test_split import Examples
from tests.command_line import CONFIG, QUIET, ROOT, TINY_DATA, contents, error_of

SIDE, GAP, FACTOR = 56, 2, 2  # of a digit, enlarged, and of the lines of a grid


class OtherDigits(MNISTDigitsDataModule):
    """The same of another class."""


def picture(path: str) -> torch.Tensor:
    """(H, W) grey values in [0, 1]."""
    return read_image(path, ImageReadMode.GRAY)[0] / 255


def tiles(path: str, rows: int, columns: int) -> torch.Tensor:
    """The pictures in a grid, (rows, columns, 28, 28); checks its size."""
    found = picture(path)
    assert found.shape == (rows * (SIDE + GAP) + GAP, columns * (SIDE + GAP) + GAP)
    enlarged = found[GAP:, GAP:].unfold(0, SIDE, SIDE + GAP).unfold(1, SIDE, SIDE + GAP)
    return enlarged[..., ::FACTOR, ::FACTOR]


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    """The test examples as the tiny run has them."""
    data = MNISTDigitsDataModule(eval_batch_size=50)
    data.setup()
    x: torch.Tensor = next(iter(data.test_dataloader()))[0]
    return x


# -- sample -----------------------------------------------------------------------------------------------------------


def test_our_warnings_are_one_line(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", message_filter.FORMAT_OF_OTHERS)
    main(["sample", "--ckpt_path=last", "--num=1"])
    assert warnings.formatwarning is message_filter._format


def test_sample_writes_a_grid_of_samples(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sample", "--ckpt_path", "last", "--output", "new/ten.png", "--num", "10", "--columns", "4", "--seed", "7"])
    assert capsys.readouterr().out == "wrote new/ten.png\n"
    grid = tiles("new/ten.png", rows=3, columns=4)
    assert set(grid[:2].unique().tolist()) == {0.0, 1.0}
    torch.manual_seed(7)
    expected = VAE.load_from_checkpoint(tiny_run / "checkpoints/last.ckpt").sample(10)
    torch.testing.assert_close(grid.flatten(0, 1)[:10], expected[:, 0])


def test_the_seed_decides_what_is_sampled(tiny_run: Path) -> None:
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        main(["sample", "--ckpt_path=best", f"--output={name}.png", "--num=4", f"--seed={seed}"])
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes() != Path("c.png").read_bytes()


def test_a_run_folder_stands_for_its_best_checkpoint(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sample", f"--ckpt_path={tiny_run}", "--num=1"])
    assert capsys.readouterr().err == f"{tiny_run}: {tiny_run}/checkpoints/best.ckpt\n"
    (tiny_run / "checkpoints/best.ckpt").unlink()
    main(["sample", f"--ckpt_path={tiny_run}/checkpoints", "--num=1"])  # nothing decided which is best
    assert f": {tiny_run}/checkpoints/last.ckpt" in capsys.readouterr().err
    said = error_of(capsys, "sample", "--ckpt_path=lightning_logs")
    assert said == ("there is no best.ckpt or last.ckpt in lightning_logs/checkpoints: is lightning_logs a run folder?")


# -- reconstruct ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num", [3, 16, 20])
def test_each_input_stands_above_its_reconstruction(tiny_run: Path, digits: torch.Tensor, num: int) -> None:
    main(["reconstruct", "--ckpt_path=last", f"--num={num}", "--output=r.png"])
    columns = min(16, num)
    rows = -(-num // columns)
    grid = tiles("r.png", 2 * rows, columns).unflatten(0, (rows, 2))
    inputs, outputs = (grid[:, part].flatten(0, 1) for part in (0, 1))
    x = digits[:num]
    torch.testing.assert_close(inputs[:num], x[:, 0])
    expected = VAE.load_from_checkpoint(tiny_run / "checkpoints/last.ckpt").reconstruct(x)
    assert (outputs[:num] - expected[:, 0]).abs().max() < 1 / 255
    assert ((inputs[num:] - 0.5).abs() < 1 / 255).all()
    assert ((outputs[num:] - 0.5).abs() < 1 / 255).all()


def test_other_data_can_be_given(tiny_run: Path, digits: torch.Tensor) -> None:
    data = ("--data=MNISTDigitsDataModule", "--data.binarize=none")
    main(["reconstruct", "--ckpt_path=last", "--num=4", "--output=grey.png", *data])
    inputs = tiles("grey.png", 2, 4)[0]
    assert not torch.equal(inputs, digits[:4, 0])
    assert torch.equal(inputs == 1, (inputs == 1) & (digits[:4, 0] == 1))  # what is surely white is always drawn white
    assert len(inputs.unique()) > 10


def test_other_data_keeps_what_the_run_says_of_its_data(
    tiny_run: Path, digits: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a class, the same or another, or one setting is given: as in `predict`."""
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    config["data"]["init_args"]["binarize"] = "none"
    (tiny_run / "config.yaml").write_text(yaml.safe_dump(config))
    seen = []
    examples = Examples(digits, None)
    monkeypatch.setattr(generate, "first_test_examples", lambda data, num: seen.append(data) or examples)
    for command, *data in (
        ("reconstruct", "--data=datamodules.MNISTDigitsDataModule"),
        ("interpolate", "--data.eval_batch_size=7"),
        ("reconstruct", "--data", "tests.cli.test_generate.OtherDigits"),
    ):
        main([command, "--ckpt_path=last", "--num=2", "--output=r.png", *data])
    assert [type(data).__name__ for data in seen] == ["MNISTDigitsDataModule"] * 2 + ["OtherDigits"]
    assert [data.binarize for data in seen] == ["none"] * 3
    assert [data.eval_batch_size for data in seen] == [250, 7, 250]


# -- interpolate ------------------------------------------------------------------------------------------------------


def test_interpolations_go_from_one_reconstruction_to_another(tiny_run: Path, digits: torch.Tensor) -> None:
    main(["interpolate", "--ckpt_path=last", "--num=3", "--steps=5", "--output=i.png"])
    grid = tiles("i.png", rows=3, columns=5)
    model = VAE.load_from_checkpoint(tiny_run / "checkpoints/last.ckpt")
    ends = model.reconstruct(digits[:6])[:, 0]
    assert (grid[:, 0] - ends[:3]).abs().max() < 1 / 255
    assert (grid[:, -1] - ends[3:]).abs().max() < 1 / 255


# -- what can go wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sample", "--num=0"], "num is 0: it must be at least 1"),
        (["sample", "--columns=0"], "columns is 0: it must be at least 1"),
        (["sample", "--num=many"], "num"),
        (["sample", "--number=3"], "number"),
        (["sample", "--device=abacus"], "the device abacus cannot be used here: take cpu or auto"),
        (["sample", "--output=picture.jpg"], "picture.jpg cannot be written: give a name that ends in .png"),
        (["sample", "--output=lightning_logs"], "lightning_logs is a folder: give the name of a file"),
        (["reconstruct", "--num=0"], "num is 0: it must be at least 1"),
        (["reconstruct", "--num=501"], "the test split has only 500 examples, fewer than the 501 asked for"),
        (["interpolate", "--steps=0"], "steps is 0: it must be at least 1"),
        (["interpolate", "--data=nowhere.Data"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    tiny_run: Path, workspace: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    before = contents(workspace)
    assert message in error_of(capsys, *args, "--ckpt_path=last")
    assert contents(workspace) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_one_line(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(capsys, "sample", "--ckpt_path=last", "--device=cuda")
    assert said == "the device cuda cannot be used here: take cpu or auto"


def test_a_checkpoint_outside_a_run_needs_data(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny_run / "checkpoints/last.ckpt").rename("alone.ckpt")
    said = error_of(capsys, "reconstruct", "--ckpt_path=alone.ckpt")
    assert "there is no config.yaml beside alone.ckpt: say which --data" in said
    main(["reconstruct", "--ckpt_path=alone.ckpt", "--num=2", "--data=MNISTDigitsDataModule"])
    tiles("reconstructions.png", 2, 2)


def test_without_a_run_there_is_nothing_to_sample_from(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no last checkpoint under lightning_logs" in error_of(capsys, "sample", "--ckpt_path=last")
    assert "ckpt_path" in error_of(capsys, "sample")


# -- classes of the user's --------------------------------------------------------------------------------------------


def test_a_decoder_of_the_users_own_can_be_sampled_from(tmp_path: Path) -> None:
    module = "from skipvae.decoders import MLPDecoder\n\n\nclass Mine(MLPDecoder):\n    pass\n"
    (tmp_path / "decoders_of_mine.py").write_text(module)
    options = [
        "--model.decoder",
        "decoders_of_mine.Mine",
        "--model.decoder.hidden_dim=8",
        "--model.decoder.latent_dim=3",
    ]
    others = ["--model.encoder.hidden_dim=8", *TINY_DATA, *QUIET, "--name=mine", "--trainer.max_steps=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for command in (["fit", "--config", str(CONFIG), *options, *others], ["sample", "--ckpt_path=last"]):
        done = subprocess.run(
            [sys.executable, "-m", "skipvae", *command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert "wrote" in done.stdout
