"""Checkpoints and configs that are damaged or made to do harm: one line says what is wrong; no code runs."""

import io
import pickle
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from skipvae import VAE
from skipvae.cli import main
from skipvae.persistence import saved_runs
from tests.command_line import QUIET, plain
from tests.faults.conftest import Inject
from tests.faults.hostile import Bomb, examples, refuses
from tests.faults.mutations import bounded, changed, damaged, edits, junk, places, thorough

# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(trained: Path) -> Path:
    return trained / "checkpoints" / "last.ckpt"


def same(model: Any, weights: dict[str, Any]) -> bool:
    return all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())


@examples(60, 2000)
def test_damaged_checkpoints(checkpoint: Path, tmp_path: Path, inject: Inject, number: Any) -> None:
    whole, bad = checkpoint.read_bytes(), tmp_path / "bad.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        bad.write_bytes(damaged(whole, changes))
        model = refuses(inject, "checkpoint: damaged bytes", lambda: VAE.load_from_checkpoint(bad))
        assert model is None or same(model, weights), "loaded other weights than were saved"

    check()


def repacked(whole: bytes, edit: Callable[[bytes], bytes]) -> bytes:
    """A checkpoint whose pickle was edited, with the right checksums."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, edit(content) if name.endswith("data.pkl") else content)
    return packed.getvalue()


@examples(60, 1500)
def test_forged_pickles(checkpoint: Path, tmp_path: Path, inject: Inject, number: Any) -> None:
    whole, bad = checkpoint.read_bytes(), tmp_path / "bad.ckpt"

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        bad.write_bytes(repacked(whole, lambda content: damaged(content, changes)))
        refuses(inject, "checkpoint: forged pickle", lambda: VAE.load_from_checkpoint(bad))

    check()


@examples(60, 600)
def test_forged_contents(checkpoint: Path, tmp_path: Path, inject: Inject, number: Any) -> None:
    content, bad = torch.load(checkpoint, weights_only=True), tmp_path / "bad.ckpt"
    ways = [way for way in places(content) if way[0] in ("state_dict", "skipvae")]

    @thorough(number)
    @given(st.sampled_from(ways), junk, st.booleans())
    def check(way: Any, value: Any, remove: bool) -> None:
        torch.save(changed(content, way, value, remove), bad)
        refuses(inject, "checkpoint: forged content", lambda: VAE.load_from_checkpoint(bad))

    check()


HUGE = 10**6


def hostile(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint that would do harm if it were believed."""
    arguments = content["skipvae"]["model"]["init_args"]
    decoder = arguments["decoder"]["init_args"]
    match kind:
        case "runs code":
            return content | {"more": Bomb()}
        case "asks for a huge layer":
            decoder["hidden_dim"] = HUGE
        case "asks for a huge layer and repeats one number to fill it":
            decoder["hidden_dim"] = HUGE
            for name in ("decoder.hidden.0.hidden.weight", "decoder.hidden.1.hidden.weight"):
                content["state_dict"][name] = torch.zeros(1).expand(HUGE, HUGE)
        case "asks for endless layers":
            decoder["num_layers"] = 10**9
        case "asks for endless layers of another class":
            arguments["decoder"]["class_path"] = "skipvae.decoders.GatedPixelCNNDecoder"
            arguments["decoder"]["init_args"] = {"latent_dim": 3, "num_layers": 10**9, "channels": 1}
        case "asks for endless layers of text":
            arguments["decoder"]["class_path"] = "skipvae.decoders.LSTMDecoder"
            arguments["decoder"]["init_args"] = {"latent_dim": 3, "num_layers": 10**9, "vocab_size": 5}
        case "describes itself within itself":
            spec = arguments["decoder"]
            for _ in range(200):
                spec = {"class_path": "skipvae.decoders.MLPDecoder", "init_args": {"latent_dim": spec}}
            arguments["decoder"] = spec
        case "allocates":
            return content | {"more": Bomb(bytearray, 10**12)}
    return content


@pytest.mark.parametrize(
    "kind",
    [
        "runs code",
        "asks for a huge layer",
        "asks for a huge layer and repeats one number to fill it",
        "asks for endless layers",
        "asks for endless layers of another class",
        "asks for endless layers of text",
        "describes itself within itself",
        "allocates",
    ],
)
def test_a_checkpoint_that_would_do_harm(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inject: Inject, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content = hostile(kind, torch.load(checkpoint, weights_only=True))
    torch.save(content, "bad.ckpt")
    with inject("checkpoint made to do harm"), bounded(), pytest.raises(ValueError, match=r"bad\.ckpt"):
        VAE.load_from_checkpoint("bad.ckpt")
    assert not Path("exploded").exists()


def test_a_checkpoint_that_unpacks_to_far_more_than_its_size(checkpoint: Path, tmp_path: Path, inject: Inject) -> None:
    bad = tmp_path / "bad.ckpt"
    shutil.copy(checkpoint, bad)
    with zipfile.ZipFile(bad, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/bomb", bytes(200 << 20))
    with inject("checkpoint made to do harm"), bounded(), pytest.raises(ValueError, match="is not a checkpoint"):
        VAE.load_from_checkpoint(bad)


def one_line_or_success(capsys: pytest.CaptureFixture[str], action: Callable[[], Any]) -> None:
    """By the command line: exit status 2 and one line, or nothing wrong."""
    capsys.readouterr()
    status: Any = 0
    try:
        action()
    except SystemExit as exit_:
        status = exit_.code
    said = capsys.readouterr().err
    assert status in (0, 2), said
    assert "Traceback" not in said
    assert status == 0 or said.splitlines()[-1].startswith("skipvae: error: ")


def quiet_main(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """`main` without pictures, and without reading the digits again."""
    from skipvae import cli

    original = cli.run

    def run(args: list[str], callbacks: Any = ()) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr("tests.command_line.run", original)
            return plain(args, callbacks)

    monkeypatch.setattr(cli, "run", run)
    return main


@examples(3, 80)
def test_forged_training_states(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, inject: Inject, number: Any
) -> None:
    """What is in a checkpoint beside the model: the loops, the optimiser, the callbacks."""
    content, bad = torch.load(tiny_run / "checkpoints/last.ckpt", weights_only=True), tiny_run / "checkpoints/bad.ckpt"
    ways = [way for way in places(content) if way[0] not in ("state_dict", "hyper_parameters")]
    run = quiet_main(monkeypatch)

    @thorough(number)
    @given(st.sampled_from(ways), junk, st.booleans())
    def check(way: Any, value: Any, remove: bool) -> None:
        torch.save(changed(content, way, value, remove), bad)
        with inject("checkpoint: forged training state"), bounded():
            one_line_or_success(
                capsys,
                lambda: run(
                    ["fit", "--ckpt_path", str(bad), *QUIET, "--trainer.max_epochs=3", "--trainer.logger=false"]
                ),
            )

    check()


def test_a_damaged_vocabulary_within_a_checkpoint_is_named(checkpoint: Path, tmp_path: Path, inject: Inject) -> None:
    from skipvae.text.codec import TextCodec

    content = torch.load(checkpoint, weights_only=True)
    content["skipvae"]["vocabulary"] = '{"version": "1.0", "model": {}}'
    torch.save(content, tmp_path / "bad.ckpt")
    with inject("vocabulary with wrong numbers"), pytest.raises(ValueError, match="vocabulary cannot be read"):
        TextCodec.of(VAE.load_from_checkpoint(tmp_path / "bad.ckpt"))


def test_the_bomb_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests above prove nothing."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(SimpleNamespace(more=Bomb())))
    assert Path("exploded").exists()


# -- configs ----------------------------------------------------------------------------------------------------------


@examples(3, 80)
def test_mutated_configs(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, inject: Inject, number: Any
) -> None:
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    # PyTorch itself takes some settings of an optimiser unseen, and stumbles over them in the first step; and a model
    # that is compiled takes minutes.
    ways = [way for way in places(config) if not {"optimizer", "compile"} & set(way)]
    run = quiet_main(monkeypatch)
    anything = junk.filter(lambda value: value != 10**18)  # whoever writes a config may ask for endless layers

    @thorough(number)
    @given(st.sampled_from(ways), anything, st.booleans())
    def check(way: Any, value: Any, remove: bool) -> None:
        Path("bad.yaml").write_text(yaml.safe_dump(changed(config, way, value, remove)))
        with inject("config: mutated value"), bounded():
            one_line_or_success(capsys, lambda: run(["fit", "--config", "bad.yaml", "--trainer.fast_dev_run=true"]))

    check()


@examples(2, 60)
def test_damaged_configs(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, inject: Inject, number: Any
) -> None:
    whole, run = (tiny_run / "config.yaml").read_bytes(), quiet_main(monkeypatch)

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        Path("bad.yaml").write_bytes(damaged(whole, changes))
        with inject("config: damaged bytes"), bounded():
            one_line_or_success(capsys, lambda: run(["fit", "--config", "bad.yaml", "--trainer.fast_dev_run=true"]))

    check()


@examples(20, 300)
def test_damaged_configs_of_a_run(tiny_run: Path, inject: Inject, number: Any) -> None:
    """From which `reconstruct` and `interpolate` take the data."""
    path = tiny_run / "config.yaml"
    whole, config = path.read_bytes(), yaml.safe_load(path.read_text())
    ways = [way for way in places(config) if way[0] == "data"]

    def data() -> None:
        from argparse import ArgumentError

        with suppress(ArgumentError):
            saved_runs.data_of(tiny_run / "checkpoints/last.ckpt")

    @thorough(number)
    @given(st.one_of(edits, st.tuples(st.sampled_from(ways), junk, st.booleans())))
    def check(change: Any) -> None:
        if isinstance(change, tuple):
            path.write_text(yaml.safe_dump(changed(config, *change)))
        else:
            path.write_bytes(damaged(whole, change))
        refuses(inject, "config of a run: damaged", data)

    check()
