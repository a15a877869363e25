"""`skipvae encode` and `decode`, and one's own inputs for reconstruct and interpolate, from checkpoints alone."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.inputs import Input
from skipvae import VAE, load
from skipvae.cli import main
from skipvae.cli.code_files import read_codes
from skipvae.cli.encode import VALUES, _windows
from skipvae.decoders import MLPDecoder, ResNetDecoder
from skipvae.encoders import MLPEncoder
from skipvae.inference import SemiAmortized
from skipvae.text import codec
from tests.command_line import ROOT, contents, error_of
from tests.models.test_values import image_model, table_model, text_model


def rows_of(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(rows: list[dict[str, str]], *names: str) -> np.ndarray:
    return np.array([[float(row[name] or "nan") for name in names] for row in rows])


def color_model() -> VAE:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"latent_dim": 2, "image_shape": (3, 8, 8)}
    model = VAE(MLPEncoder(hidden_dim=8, **shape), ResNetDecoder(channels=[4, 4], **shape))
    pictures = {"height": 8, "width": 8, "color": True, "fit": "pad", "background": 0, "binary": False}
    model.codecs = {"pictures": json.dumps(pictures), "label_names": '["cat", "dog"]'}
    return model


@pytest.fixture
def sentences(workspace: Path) -> VAE:
    model = text_model()
    model.save_checkpoint("a.ckpt")
    Path("mine.txt").write_bytes(b"a b c\n\nc nonsense\n\xff\n" + b"b a\n" * 3)
    return model


@pytest.mark.parametrize("ending", ["csv", "npz", "parquet"])
def test_each_input_has_its_row(sentences: VAE, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    output = f"new/codes.{ending}"
    main(["encode", "--ckpt_path=a.ckpt", "mine.txt", "b b", "--score=3", f"--output={output}"])
    said = capsys.readouterr()
    assert said.out == f"wrote the codes of 6 of 8 inputs: {output}\n"
    assert "2 have none, see the column reason, such as mine.txt, 2: empty" in said.err
    assert "7.7% of the words are not in the vocabulary" in said.err
    expected = sentences.encode(["a b c", "c nonsense", *["b a"] * 3, "b b"]).mean
    codes = np.concatenate(list(read_codes(output, 2)))
    assert np.isnan(codes).all(1).tolist() == [False, True, False, True, False, False, False, False]
    assert codes[[0, 2, 4, 5, 6, 7]] == pytest.approx(expected, abs=1e-6)
    assert [path.name for path in Path("new").iterdir()] == [f"codes.{ending}"]


def test_the_table_says_where_and_why(sentences: VAE) -> None:
    main(["encode", "--ckpt_path=a.ckpt", "mine.txt", "b b"])
    rows = rows_of("codes.csv")
    assert list(rows[0]) == [
        *("input", "position", "label", "label_name", "mean_0", "mean_1", "std_0", "std_1", "reason")
    ]
    assert [row["position"] for row in rows] == ["1", "2", "3", "4", "5", "6", "7", ""]
    assert [row["input"] for row in rows[6:]] == ["mine.txt", "b b"]
    assert [row["reason"] for row in rows[:4]] == ["", "empty", "", "not UTF-8: byte 1 is 0xff"]
    assert numbers(rows, "std_0")[0, 0] == pytest.approx(float(sentences.encode("a b c").std[0, 0]), rel=1e-6)


def test_codes_and_scores_depend_on_nothing_but_the_input(sentences: VAE) -> None:
    names = ["mean_0", "mean_1", "elbo", "log_likelihood"]
    one, other = ["a", "c b a", "a c", "b"], ["b", "c b a", "a"]
    for path, inputs, size in (("1.csv", one, 2), ("2.csv", other, 3)):
        main(["encode", "--ckpt_path=a.ckpt", *inputs, "--score=4", f"--output={path}", f"--batch_size={size}"])
    first, second = rows_of("1.csv"), rows_of("2.csv")
    assert numbers([first[3], first[1], first[0]], *names) == pytest.approx(numbers(second, *names), abs=1e-5)
    assert (numbers(first, "elbo") <= numbers(first, "log_likelihood") + 1e-9).all()


def test_scores_are_those_of_the_model(workspace: Path) -> None:
    """Of an example whose posterior is the prior and whose decoder ignores z, both are log p(x), in closed form."""
    model = image_model()
    for weights in (model.encoder, model.decoder):
        for parameter in weights.parameters():
            torch.nn.init.zeros_(parameter)
    model.save_checkpoint("a.ckpt")
    np.save("x.npy", np.zeros((2, 28, 28), np.uint8))
    main(["encode", "--ckpt_path=a.ckpt", "x.npy", "--score=2"])
    assert numbers(rows_of("codes.csv"), "elbo", "log_likelihood") == pytest.approx(784 * np.log(0.5))
    assert [row["position"] for row in rows_of("codes.csv")] == ["0", "1"]


def test_refined_posteriors_do_not_depend_on_the_batch(workspace: Path) -> None:
    torch.manual_seed(0)
    parts = MLPEncoder(latent_dim=2, hidden_dim=8), MLPDecoder(latent_dim=2, hidden_dim=8)
    VAE(*parts, inference=SemiAmortized(num_steps=2)).save_checkpoint("a.ckpt")
    np.save("x.npy", np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8))
    for size in (1, 5):
        main(["encode", "--ckpt_path=a.ckpt", "x.npy", f"--output={size}.npz", f"--batch_size={size}"])
    one, five = (np.concatenate(list(read_codes(f"{size}.npz", 2))) for size in (1, 5))
    assert one == pytest.approx(five, abs=1e-5)


def test_pictures_are_read_as_the_run_read_its_own(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = color_model()
    model.save_checkpoint("a.ckpt")
    for name, size in (("dog/wide.png", (16, 8)), ("bird/square.jpg", (9, 9))):
        Path("pets", name).parent.mkdir(parents=True)
        Image.new("RGB", size, (255, 0, 0)).save(Path("pets", name))
    Path("pets/dog/broken.png").write_bytes(b"no")
    main(["encode", "--ckpt_path=a.ckpt", "pets", "pets/dog/wide.png"])
    rows = rows_of("codes.csv")
    assert [(row["label"], row["label_name"]) for row in rows] == [("", "bird"), ("1", "dog"), ("1", "dog"), ("", "")]
    padded = torch.zeros(1, 3, 8, 8)
    padded[:, 0, 2:6] = 1
    mean = model.encode(padded).mean[0]
    assert numbers(rows, "mean_0", "mean_1")[2:] == pytest.approx(np.stack([mean, mean]), abs=1e-6)
    capsys.readouterr()
    main(["decode", "--ckpt_path=a.ckpt", "codes.csv", "--output=images.npy"])
    assert np.load("images.npy").shape == (3, 3, 8, 8)
    assert np.load("images.npy")[1] == pytest.approx(model.decode(mean[None])[0], abs=1e-6)
    main(["decode", "--ckpt_path=a.ckpt", "codes.csv", "--columns=3"])
    main(["reconstruct", "--ckpt_path=a.ckpt", "pets", "--output=r.png"])
    main(["interpolate", "--ckpt_path=a.ckpt", "--start=pets/bird", "--end=pets/dog/wide.png", "--output=i.png"])
    said = capsys.readouterr()
    assert said.out == "wrote images.npy\nwrote decoded.png\nwrote r.png\nwrote i.png\n"
    assert "left out: pets/dog/broken.png: cannot identify" in said.err
    assert Image.open("i.png").size[0] > Image.open("i.png").size[1]
    assert "broken.png cannot be used" in error_of(
        capsys, "interpolate", "--ckpt_path=a.ckpt", "--start=pets/dog", "--end=pets/dog"
    )


def test_tables_come_back_in_their_units(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = table_model()
    model.save_checkpoint("a.ckpt")
    Path("mine.csv").write_text("wide,name,tall\n2.5,x,180\n,y,170\n")
    main(["encode", "--ckpt_path=a.ckpt", "mine.csv"])
    rows = rows_of("codes.csv")
    assert numbers(rows[:1], "mean_0", "mean_1") == pytest.approx(model.encode([[180.0, 2.5]]).mean, rel=1e-6)
    assert rows[1]["reason"] == "'wide' is missing"
    main(["decode", "--ckpt_path=a.ckpt", "codes.csv", "--output=back.csv"])
    back = rows_of("back.csv")
    assert numbers(back, "tall", "wide") == pytest.approx(model.decode(model.encode([[180.0, 2.5]]).mean), rel=1e-6)
    main(["reconstruct", "--ckpt_path=a.ckpt", "mine.csv", "--output=r.csv"])
    assert numbers(rows_of("r.csv"), "tall")[0, 0] == pytest.approx(180)
    Path("other.csv").write_text("wide,tal\n2.5,180\n")
    message = error_of(capsys, "encode", "--ckpt_path=a.ckpt", "other.csv")
    assert "no column 'tall': did you mean 'tal'" in message


def test_latent_arithmetic(sentences: VAE, capsys: pytest.CaptureFixture[str]) -> None:
    z = sentences.encode(["a", "b"]).mean
    np.save("z.npy", z[:1] - z[1:])
    Path("z.csv").write_text("z_0,z_1\n" + ",".join(map(repr, (z[0] - z[1]).tolist())) + "\n,\n")
    expected = sentences.decode(z[:1] - z[1:], max_length=60)[0]
    capsys.readouterr()
    main(["decode", "--ckpt_path=a.ckpt", "z.npy", "--output=z.txt"])
    assert capsys.readouterr().out == f"{expected}\n" == Path("z.txt").read_text()
    main(["decode", "--ckpt_path=a.ckpt", "z.csv"])
    assert capsys.readouterr().out == f"{expected}\n\n"  # a line for each row


def test_inputs_of_different_types_share_a_job(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures beside arrays of fractions or of another layout: each row depends on its own input alone."""
    color_model().save_checkpoint("a.ckpt")
    Image.new("RGB", (8, 8), (200, 0, 0)).save("one.png")
    picture = np.zeros((2, 8, 8, 3), np.uint8)
    picture[..., 0] = 200
    np.save("bytes.npy", picture)
    np.save("fractions.npy", picture.transpose(0, 3, 1, 2) / 255)
    np.save("wide.npy", picture.astype(">u2"))
    np.save("scaled.npy", picture.astype(np.float32))
    files = [f"{name}.npy" for name in ("bytes", "fractions", "wide", "scaled")]
    main(["encode", "--ckpt_path=a.ckpt", "one.png", *files])
    rows = rows_of("codes.csv")
    assert numbers(rows[:7], "mean_0") == pytest.approx(numbers(rows[:1], "mean_0")[0, 0], abs=1e-5)
    assert ["from 0 to 1" in row["reason"] for row in rows] == [False] * 7 + [True] * 2
    with pytest.raises(ValueError, match="from 0 to 1"):
        color_model().encode(picture.astype(np.float32))


def test_an_input_is_no_output(sentences: VAE, capsys: pytest.CaptureFixture[str]) -> None:
    table_model().save_checkpoint("t.ckpt")
    Path("mine.csv").write_text("wide,tall\n2.5,180\n")
    Path("z.csv").write_text("z_0,z_1\n0,0\n")
    Path("link.csv").symlink_to("mine.csv")
    before = contents(Path())
    for args in (["encode", "mine.csv"], ["encode", "link.csv"], ["reconstruct", "mine.csv"], ["decode", "mine.csv"]):
        assert "mine.csv is an input" in error_of(capsys, *args, "--ckpt_path=t.ckpt", "--output=mine.csv")
    ends = ("--start=mine.csv", "--end=link.csv", "--output=mine.csv")
    assert "mine.csv is an input" in error_of(capsys, "interpolate", "--ckpt_path=t.ckpt", *ends)
    assert "z.csv is an input" in error_of(capsys, "decode", "--ckpt_path=a.ckpt", "z.csv", "--output=z.csv")
    assert contents(Path()) == before


def test_what_is_no_unicode_keeps_its_row(sentences: VAE) -> None:
    main(["encode", "--ckpt_path=a.ckpt", "a", "\udcff b", "a\rb", ""])
    rows = rows_of("codes.csv")
    assert [row["input"] for row in rows] == ["a", "\\udcff b", "a\\rb", ""]
    assert [row["reason"] for row in rows] == ["", "half a surrogate pair", "", "empty"]


def test_few_large_inputs_are_in_memory_together() -> None:
    """Thousands are not padded to one enormous sentence; of large pictures there are fewer."""
    inputs = [Input("x", "a" * length) for length in (3, 1_000_000, 2, 1)] + [Input("x", None)]
    sizes = [[len(each.value or "") for each in some] for some in _windows([*inputs, *inputs[2:3] * 5000])]
    assert all(len(some) * max(some) <= VALUES for some in sizes)
    assert sum(map(len, sizes)) == 5005
    pictures = [Input("x", np.zeros((3, 512, 512), np.uint8))] * 50
    assert max(map(len, _windows(pictures))) == 21


def test_samples_of_a_class(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sample", "--ckpt_path=last", "--label=3", "--num=4", "--output=3.png"])
    main(["sample", "--ckpt_path=last", "--label=4", "--num=4", "--output=4.png"])
    assert Path("3.png").read_bytes() != Path("4.png").read_bytes()
    assert "no examples of class 12" in error_of(capsys, "sample", "--ckpt_path=last", "--label=12")


def test_the_length_of_sentences_is_treated_as_in_the_run(sentences: VAE) -> None:
    folder = Path("run/checkpoints")
    sentences.save_checkpoint(folder / "best.ckpt")
    for too_long in ("drop", "truncate"):
        data = {"class_path": "datamodules.TextDataModule", "init_args": {"max_length": 2, "too_long": too_long}}
        Path("run/config.yaml").write_text(json.dumps({"data": data}))
        main(["encode", "--ckpt_path=run", "a b", "a b c c", "c", f"--output={too_long}.csv"])
    assert [row["reason"] for row in rows_of("drop.csv")] == ["", "4 tokens, and max_length is 2", ""]
    same = numbers(rows_of("truncate.csv"), "mean_0", "mean_1")
    assert same[1] == pytest.approx(same[0], abs=1e-6)
    assert [row["reason"] for row in rows_of("truncate.csv")] == [""] * 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["encode"], "nothing to encode"),
        (["encode", "mine.txt", "--output=codes.txt"], "ends in .csv or .npz or .parquet"),
        (["encode", "missing.txt"], "there is no file missing.txt"),
        (["encode", "a", "--score=0"], "score is 0"),
        (["encode", "a <eos>"], "none of 1 inputs can be encoded, such as a <eos>: <eos> is the token for"),
        (["encode", "a", "--top_k=3"], "encode has no option --top_k"),
        (["decode"], "reads one file of codes"),
        (["decode", "missing.csv"], "there is no file missing.csv"),
        (["decode", "mine.csv"], "has no columns mean_0"),
        (["decode", "three.csv"], "codes of 3 dimensions, and the model has 2"),
        (["decode", "a.ckpt"], "a.ckpt is no text, or not UTF-8"),
        (["decode", "x.npy"], "holds codes (2, 3), and the model needs (N, 2)"),
        (["reconstruct", "a", "--num=3"], "num is for test examples"),
        (["interpolate", "--start=a", "--end=mine.txt"], "mine.txt, 2 cannot be used: empty"),
    ],
)
def test_bad_requests_leave_nothing(
    sentences: VAE, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    Path("mine.csv").write_text("a,b\n1,2\n")
    Path("three.csv").write_text("mean_0,mean_1,mean_2\n1,2,3\n")
    np.save("x.npy", np.zeros((2, 3)))
    before = contents(Path())
    assert message in error_of(capsys, *args, "--ckpt_path=a.ckpt")
    assert contents(Path()) == before


def test_the_vocabulary_of_a_long_job_is_read_once(sentences: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library does not give back the memory of a tokenizer."""
    monkeypatch.setattr("skipvae.cli.encode.WINDOW", 2)
    Path("long.txt").write_text("a b c\n" * 30)
    codec._tokenizer.cache_clear()
    main(["encode", "--ckpt_path=a.ckpt", "long.txt"])
    assert len(rows_of("codes.csv")) == 30
    assert codec._tokenizer.cache_info().misses == 1


def test_sentences_come_through_a_pipe(sentences: VAE) -> None:
    command = [sys.executable, "-m", "skipvae", "encode", "--ckpt_path=a.ckpt", "-", "--output=pipe.csv"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, input=b"a b\nc\n", check=True, env=environment, capture_output=True)
    assert len(rows_of("pipe.csv")) == 2
    assert np.concatenate(list(read_codes("pipe.csv", 2))) == pytest.approx(load("a.ckpt").encode(["a b", "c"]).mean)
