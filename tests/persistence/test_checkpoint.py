import io
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from skipvae import VAE
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder
from skipvae.models import GenerativeModel
from skipvae.persistence.checkpoint import read_checkpoint
from skipvae.persistence.spec import Component
from tests.command_line import QUIET, RUN, OtherProcess, contents, error_of, fit, log_likelihood, plain

LAST = RUN / "checkpoints" / "last.ckpt"
DIGITS = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0)).round()


def load(path: Path | str) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


# -- the path alone suffices ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_a_model_of_the_command_line_is_the_same_in_a_new_process(
    tiny_run: Path, other_process: OtherProcess, checkpoint: str
) -> None:
    path = tiny_run / "checkpoints" / f"{checkpoint}.ckpt"
    model = VAE.load_from_checkpoint(path)
    assert not model.training
    assert other_process.log_likelihood(path, DIGITS) == pytest.approx(log_likelihood(model, DIGITS), rel=1e-6)


def test_a_model_built_in_python_is_the_same_in_a_new_process(tmp_path: Path, other_process: OtherProcess) -> None:
    torch.manual_seed(3)
    model = VAE(MLPEncoder(2, (1, 4, 6), 8), MLPDecoder(2, (1, 4, 6), 8, skip=True), free_bits=0.1)
    x = torch.rand(20, 1, 4, 6).round()
    trainer = pl.Trainer(
        max_steps=5,
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(TensorDataset(x), batch_size=5))
    path = Path(trainer.checkpoint_callback.best_model_path)
    assert other_process.log_likelihood(path, x) == pytest.approx(log_likelihood(model, x), rel=1e-6)
    assert VAE.load_from_checkpoint(path).spec == model.spec


def test_the_trained_model_is_what_was_saved(workspace: Path) -> None:
    cli = fit()
    assert log_likelihood(VAE.load_from_checkpoint(LAST), DIGITS) == log_likelihood(cli.model.eval(), DIGITS)


def test_arguments_can_be_replaced(trained: Path) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    model = VAE.load_from_checkpoint(path, free_bits=0.25, num_importance_samples=7)
    assert (model.free_bits, model.num_importance_samples) == (0.25, 7)
    with pytest.raises(ValueError, match=r"skipvae.VAE cannot be built from its description: .*'nonsense'"):
        VAE.load_from_checkpoint(path, nonsense=1)


def test_a_file_object_will_do(trained: Path) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    model = VAE.load_from_checkpoint(io.BytesIO(path.read_bytes()))
    assert log_likelihood(model, DIGITS) == log_likelihood(VAE.load_from_checkpoint(path), DIGITS)


# -- what is no checkpoint --------------------------------------------------------------------------------------------


class Bomb:
    """Pickled code: loading it would make a file."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("exploded"),))


def bad_checkpoint(kind: str, good: Path) -> tuple[Path, str]:
    """A file that will not do, and what is said of it."""
    path, content = Path("bad.ckpt"), load(good)
    not_one = r"bad\.ckpt is not a checkpoint, or was cut short or damaged"
    match kind:
        case "absent":
            return path, r"there is no checkpoint bad\.ckpt"
        case "cut short":
            path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
            return path, not_one
        case "damaged":
            whole = bytearray(good.read_bytes())
            whole[len(whole) // 2] ^= 0xFF
            path.write_bytes(whole)
            return path, not_one
        case "empty":
            path.touch()
            return path, not_one
        case "random":
            path.write_bytes(torch.randint(256, (5000,), generator=torch.Generator().manual_seed(0)).byte().numpy())
            return path, not_one
        case "bare code":
            path.write_bytes(pickle.dumps(Bomb()))
            return path, not_one
        case "code":
            torch.save(content | {"more": Bomb()}, path)
            return path, r"bad\.ckpt holds pickled code, which is never run"
        case "weights":
            torch.save(content["state_dict"], path)
            return path, r"bad\.ckpt is not a checkpoint of a Lightning module: it has no state_dict"
        case "foreign":
            del content["skipvae"]
            torch.save(content, path)
            return path, r"bad\.ckpt was not written by skipvae"
        case "other class":
            content["skipvae"]["model"]["class_path"] = f"{__name__}.OtherModel"
            torch.save(content, path)
            return path, "OtherModel"
        case "other weights":
            content["state_dict"]["encoder.layers.0.bias"] = torch.zeros(3)
            torch.save(content, path)
            return path, r"does not fit the model: encoder\.layers\.0\.bias is 3 there and 8 here"
    raise AssertionError(kind)


class OtherModel(GenerativeModel):
    """Not a VAE."""


KINDS = [
    *("absent", "cut short", "damaged", "empty", "random", "bare code", "code"),
    *("weights", "foreign", "other class", "other weights"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_checkpoint_is_refused_and_nothing_in_it_runs(tiny_run: Path, kind: Any) -> None:
    path, message = bad_checkpoint(kind, tiny_run / "checkpoints" / "last.ckpt")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        VAE.load_from_checkpoint(path)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("command", "kind"),
    [("test", kind) for kind in KINDS] + [("fit", "cut short"), ("fit", "other weights"), ("sample", "code")],
)
def test_a_bad_checkpoint_is_one_line_on_the_command_line(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], command: Any, kind: Any
) -> None:
    path, message = bad_checkpoint(kind, tiny_run / "checkpoints" / "last.ckpt")
    before = contents(Path("lightning_logs"))
    config = ["--config", str(tiny_run / "config.yaml")] if command != "sample" else []
    said = error_of(capsys, command, *config, "--init_from" if command == "fit" else "--ckpt_path", str(path))
    assert re.search(message, said), said
    assert not Path("exploded").exists()
    assert contents(Path("lightning_logs")) == before


def test_a_checkpoint_names_classes_but_never_imports_them(tiny_run: Path, workspace: Path) -> None:
    (workspace / "payload.py").write_text("raise SystemExit('imported')")
    content = load(LAST)
    content["skipvae"]["model"]["class_path"] = "payload.Model"
    torch.save(content, "bad.ckpt")
    with pytest.raises(ValueError, match=r"payload\.Model is not known here"):
        VAE.load_from_checkpoint("bad.ckpt")
    assert "payload.Model" not in Component.known


def test_everything_in_a_checkpoint_is_plain(trained: Path) -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                assert isinstance(key, (str, int))
                walk(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                walk(item)
        else:
            assert isinstance(value, (bool, int, float, str, type(None), torch.Tensor)), type(value)

    walk(read_checkpoint(trained / "checkpoints" / "best.ckpt"))


# -- the command line has the last word -------------------------------------------------------------------------------


def test_evaluation_settings_are_not_those_of_the_checkpoint(tiny_run: Path) -> None:
    options = ("--ckpt_path=last", *QUIET, "--trainer.limit_test_batches=1")
    assert plain(["test", *options, "--model.num_importance_samples=2"]).model.num_importance_samples == 2
    tested = plain(["test", *options, "--model.num_importance_samples=0", "--model.active_threshold=0.5"])
    assert "nll" not in tested.model.results
    assert tested.model.results["au_threshold"] == 0.5
