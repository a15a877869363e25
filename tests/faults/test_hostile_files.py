"""Files that are damaged or made to do harm: one line says what is wrong; no code runs, nothing hangs or swells."""

import gzip
import io
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from datamodules import OmniglotDataModule, TextDataModule
from datamodules.idx import read_idx
from datamodules.omniglot_sources import Corpus
from datamodules.vocabulary import Vocabulary
from skipvae import VAE, runs
from skipvae.cli import main
from tests.command_line import QUIET, plain
from tests.faults.conftest import Inject
from tests.faults.mutations import EXPECTED, bounded, changed, damaged, edits, junk, places, thorough

LONG = pytest.mark.faults


def examples(few: int, many: int) -> Any:
    """A few mutations in every test run, many in `make faults`."""
    return pytest.mark.parametrize("number", [few, pytest.param(many, marks=LONG)])


def refuses(inject: Inject, fault: str, action: Callable[[], Any]) -> Any:
    """Does something with a hostile file: it works, or fails in one line."""
    with inject(fault), bounded():
        try:
            return action()
        except EXPECTED as error:
            return None if str(error) else pytest.fail("an error without words")


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(trained: Path) -> Path:
    return trained / "checkpoints" / "last.ckpt"


def same(model: Any, weights: dict[str, Any]) -> bool:
    return all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())


@examples(60, 2000)
def test_damaged_checkpoints(checkpoint, tmp_path, inject: Inject, number):
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
def test_forged_pickles(checkpoint, tmp_path, inject: Inject, number):
    whole, bad = checkpoint.read_bytes(), tmp_path / "bad.ckpt"

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        bad.write_bytes(repacked(whole, lambda content: damaged(content, changes)))
        refuses(inject, "checkpoint: forged pickle", lambda: VAE.load_from_checkpoint(bad))

    check()


@examples(60, 600)
def test_forged_contents(checkpoint, tmp_path, inject: Inject, number):
    content, bad = torch.load(checkpoint, weights_only=True), tmp_path / "bad.ckpt"
    ways = [way for way in places(content) if way[0] in ("state_dict", "skipvae")]

    @thorough(number)
    @given(st.sampled_from(ways), junk, st.booleans())
    def check(way: Any, value: Any, remove: bool) -> None:
        torch.save(changed(content, way, value, remove), bad)
        refuses(inject, "checkpoint: forged content", lambda: VAE.load_from_checkpoint(bad))

    check()


class Bomb:
    """Pickled code: loading it would make a file."""

    def __init__(self, function: Callable[..., Any] = Path.touch, *args: Any) -> None:
        self.call = (function, args or (Path("exploded"),))

    def __reduce__(self) -> Any:
        return self.call


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
def test_a_checkpoint_that_would_do_harm(checkpoint, tmp_path, monkeypatch, inject: Inject, kind):
    monkeypatch.chdir(tmp_path)
    content = hostile(kind, torch.load(checkpoint, weights_only=True))
    torch.save(content, "bad.ckpt")
    with inject("checkpoint made to do harm"), bounded(), pytest.raises(ValueError, match=r"bad\.ckpt"):
        VAE.load_from_checkpoint("bad.ckpt")
    assert not Path("exploded").exists()


def test_a_checkpoint_that_unpacks_to_far_more_than_its_size(checkpoint, tmp_path, inject: Inject):
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
def test_forged_training_states(tiny_run, capsys, monkeypatch, inject: Inject, number):
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


# -- configs ----------------------------------------------------------------------------------------------------------


@examples(3, 80)
def test_mutated_configs(tiny_run, capsys, monkeypatch, inject: Inject, number):
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
def test_damaged_configs(tiny_run, capsys, monkeypatch, inject: Inject, number):
    whole, run = (tiny_run / "config.yaml").read_bytes(), quiet_main(monkeypatch)

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        Path("bad.yaml").write_bytes(damaged(whole, changes))
        with inject("config: damaged bytes"), bounded():
            one_line_or_success(capsys, lambda: run(["fit", "--config", "bad.yaml", "--trainer.fast_dev_run=true"]))

    check()


@examples(20, 300)
def test_damaged_configs_of_a_run(tiny_run, inject: Inject, number):
    """From which `reconstruct` and `interpolate` take the data."""
    path = tiny_run / "config.yaml"
    whole, config = path.read_bytes(), yaml.safe_load(path.read_text())
    ways = [way for way in places(config) if way[0] == "data"]

    def data() -> None:
        from argparse import ArgumentError

        with suppress(ArgumentError):
            runs.data_of(tiny_run / "checkpoints/last.ckpt")

    @thorough(number)
    @given(st.one_of(edits, st.tuples(st.sampled_from(ways), junk, st.booleans())))
    def check(change: Any) -> None:
        if isinstance(change, tuple):
            path.write_text(yaml.safe_dump(changed(config, *change)))
        else:
            path.write_bytes(damaged(whole, change))
        refuses(inject, "config of a run: damaged", data)

    check()


# -- data -------------------------------------------------------------------------------------------------------------

PIXELS = torch.arange(600, dtype=torch.int64).remainder(256).to(torch.uint8).view(6, 10, 10)
IDX = struct.pack(">BBBB3I", 0, 0, 8, 3, 6, 10, 10) + bytes(PIXELS.numpy())


@pytest.mark.parametrize("suffix", ["", ".gz"])
@examples(100, 2500)
def test_damaged_idx(tmp_path, inject: Inject, number, suffix):
    path, whole = tmp_path / f"file{suffix}", gzip.compress(IDX, mtime=0) if suffix else IDX

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        path.write_bytes(damaged(whole, changes))
        found = refuses(inject, f"IDX{suffix}: damaged bytes", lambda: read_idx(path, (6, 10, 10)))
        assert found is None or found.shape == (6, 10, 10)

    check()


def corpus() -> Corpus:
    """Omniglot with two drawings."""
    return Corpus(
        images=np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4),
        characters=np.arange(40) % 2,
        alphabets=np.arange(40) % 2,
        alphabet_names=np.array(["Greek", "Latin"]),
        sizes=np.array([28, 2, 10]),
    )


@examples(100, 2500)
def test_damaged_caches(tmp_path, inject: Inject, number):
    data = OmniglotDataModule(str(tmp_path), "npz", size=4, binarize="none")
    data._store(corpus())
    path = next(tmp_path.rglob("*.npz"))
    whole, images = path.read_bytes(), torch.from_numpy(corpus().images)

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        path.write_bytes(damaged(whole, changes))
        splits = refuses(inject, "npz: damaged bytes", data.load)
        assert splits is None or torch.cat([split.images for split in splits]).squeeze(1).equal(images)

    check()


@examples(20, 300)
def test_forged_caches(tmp_path, inject: Inject, number):
    data = OmniglotDataModule(str(tmp_path), "npz", size=4, binarize="none")
    data._store(corpus())
    path = next(tmp_path.rglob("*.npz"))
    arrays = corpus()._asdict()
    other = st.sampled_from(
        [
            *(np.zeros(0), np.zeros((2, 2)), np.array("x"), np.array(7), np.full(3, np.nan), np.arange(3)),
            *(np.zeros((40, 4, 4)), np.array([[1, 2, 3]]), np.array([10**9, 1, 1]), np.array([-1, 40, 1])),
        ]
    )

    @thorough(number)
    @given(st.sampled_from(list(arrays)), other, st.booleans())
    def check(name: str, value: Any, remove: bool) -> None:
        forged = {key: array for key, array in arrays.items() if key != name or not remove}
        np.savez(path, **({**forged, name: value} if not remove else forged))
        refuses(inject, "npz: forged arrays", data.load)

    check()


def test_a_cache_with_code_in_it(tmp_path, inject: Inject, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = OmniglotDataModule("data", "npz", size=4, binarize="none")
    data._store(corpus())
    arrays: dict[str, Any] = corpus()._asdict() | {"alphabet_names": np.array([Bomb()], dtype=object)}
    np.savez(next(Path("data").rglob("*.npz")), **arrays)
    with inject("npz with pickled code"), pytest.raises(ValueError, match="is damaged"):
        data.load()
    assert not Path("exploded").exists()


@examples(5, 200)
def test_damaged_matlab_files(tmp_path, inject: Inject, number):
    """They are compared with the published sum before anything reads them."""
    path = tmp_path / "omniglot/chardata.mat"
    path.parent.mkdir()
    from scipy.io import savemat

    savemat(path, {"data": np.zeros((784, 4))})
    whole = path.read_bytes()

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        path.write_bytes(damaged(whole, changes))
        with inject("mat: damaged bytes"), bounded(), pytest.raises(ValueError, match=r"chardata\.mat is damaged"):
            OmniglotDataModule(str(tmp_path), "chardata", cache_dir=str(tmp_path / "cache")).prepare_data()

    check()


TEXT = "".join(f"the cat number {i} sat on the mat and slept\n" for i in range(40)).encode()


@pytest.mark.parametrize("suffix", ["txt", "txt.gz"])
@examples(60, 2000)
def test_damaged_text(tmp_path, inject: Inject, number, suffix):
    path = tmp_path / f"corpus.{suffix}"
    whole = gzip.compress(TEXT, mtime=0) if suffix.endswith("gz") else TEXT

    def batches() -> None:
        data = TextDataModule(str(path), batch_size=4, vocab_size=50)
        data.setup()
        for tokens, _ in (*data.train_dataloader(), *data.test_dataloader()):
            assert tokens.min() >= 0
            assert tokens.max() < data.vocab_size

    @thorough(number)
    @given(edits)
    def check(changes: Any) -> None:
        path.write_bytes(damaged(whole, changes))
        refuses(inject, f"text ({suffix}): damaged bytes", batches)

    check()


def test_a_packed_text_that_unpacks_to_far_more_than_its_size(tmp_path, inject: Inject):
    path = tmp_path / "corpus.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(bytes(1 << 20))
    with inject("gzip made to fill the memory"), bounded(), pytest.raises(ValueError, match="hundred times its size"):
        TextDataModule(str(path)).setup()


@examples(100, 2500)
def test_damaged_vocabularies(tmp_path, inject: Inject, number):
    path = tmp_path / "vocabulary.json"
    lines = TEXT.decode().splitlines()
    wholes = [Vocabulary.build(lines, 300, kind).to_json().encode() for kind in ("word", "bpe")]

    def read() -> None:
        vocabulary = Vocabulary.load(path)
        with suppress(ValueError):  # a line may hold a special symbol now
            tokens, _ = vocabulary.encode(["the cat sat", "nothing known"])
            assert tokens.min() >= 0
            assert tokens.max() < len(vocabulary)

    @thorough(number)
    @given(st.sampled_from(wholes), edits)
    def check(whole: bytes, changes: Any) -> None:
        path.write_bytes(damaged(whole, changes))
        refuses(inject, "vocabulary: damaged bytes", read)

    check()


@pytest.mark.parametrize(
    "words",
    [
        {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3, "light": 4_000_000_000},
        {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3, "light": 4, "dark": 6},
        {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 2, "light": 3},
    ],
)
def test_words_whose_numbers_have_gaps_are_refused(tmp_path, inject: Inject, words):
    path = tmp_path / "vocabulary.json"
    path.write_text(
        json.dumps({"version": "1.0", "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"}})
    )
    with inject("vocabulary with wrong numbers"), pytest.raises(ValueError, match="is no vocabulary"):
        Vocabulary.load(path)


def test_a_damaged_vocabulary_within_a_checkpoint_is_named(checkpoint, tmp_path, inject: Inject):
    from skipvae.sentences import Sentences

    content = torch.load(checkpoint, weights_only=True)
    content["skipvae"]["vocabulary"] = '{"version": "1.0", "model": {}}'
    torch.save(content, tmp_path / "bad.ckpt")
    with inject("vocabulary with wrong numbers"), pytest.raises(ValueError, match="vocabulary cannot be read"):
        Sentences.of(VAE.load_from_checkpoint(tmp_path / "bad.ckpt"))


def test_the_bomb_works(tmp_path, monkeypatch):
    """Else the tests above prove nothing."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(SimpleNamespace(more=Bomb())))
    assert Path("exploded").exists()
