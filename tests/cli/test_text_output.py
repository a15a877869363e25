"""Text models by the command line: their vocabulary, what they print, and their schedule."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from skipvae.cli import main
from skipvae.models import GenerativeModel
from skipvae.text.codec import TextCodec
from tests.callbacks.tiny import read_events
from tests.command_line import QUIET, ROOT, error_of, run

WORDS = ("light", "dark", "day", "night", "good", "<b>")
SMALL = [
    *("--config", str(ROOT / "configs/verses/vae_small.yaml"), "--name=text", *QUIET, "--data=TextDataModule"),
    *(
        "--data.train=corpus.txt",
        "--data.train_size=40",
        "--data.batch_size=8",
        "--data.eval_batch_size=4",
        "--trainer.accelerator=cpu",
    ),
    *(f"--model.{part}.{size}=6" for part in ("encoder", "decoder") for size in ("embedding_dim", "hidden_dim")),
    "--model.decoder.latent_dim=2",
]
RUN = Path("lightning_logs/text/version_0")


def write_corpus(words: Any = WORDS) -> None:
    choice = torch.randint(len(words), (60, 4), generator=torch.Generator().manual_seed(0)).tolist()
    Path("corpus.txt").write_text("".join(" ".join(words[i] for i in line) + "\n" for line in choice))


@pytest.fixture(scope="module")
def trained_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        write_corpus()
        run(["fit", *SMALL, "--trainer.max_epochs=1"])
    return folder


@pytest.fixture
def text_run(trained_text: Path, workspace: Path) -> Path:
    shutil.copytree(trained_text, workspace, dirs_exist_ok=True)
    return RUN


def test_a_reloaded_model_reads_and_writes(text_run: Path) -> None:
    model = GenerativeModel.load_from_checkpoint(text_run / "checkpoints/best.ckpt")
    assert model.codecs["vocabulary"] == (text_run / "vocabulary.json").read_text()
    codec = TextCodec.of(model)
    assert codec.decode(codec.encode(["good night light", "day"])) == ["good night light", "day"]
    assert codec.unknown("Good telephone day Good") == ["Good", "telephone"]
    json.loads(model.codecs["vocabulary"])


def test_sentences_are_printed_and_written(text_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sample", "--ckpt_path=best", "--num=3", "--max_length=5", "--top_k=2", "--output=new/s.txt"])
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 3
    assert Path("new/s.txt").read_text() == printed
    main(["reconstruct", "--ckpt_path=best", "--num=2", "--num_beams=2"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert [line.startswith("  -> ") for line in lines] == [False, True, False, True]
    main(["interpolate", "--ckpt_path=best", "--start=good day", "--end=night", "--steps=3"])
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[4]) == ("good day", "night")


def test_unknown_words_are_named(text_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["reconstruct", "--ckpt_path=best", "--text=good telephone"])
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "best: lightning_logs/text/version_0/checkpoints/best.ckpt",
        "not in the vocabulary, read as the unknown word: telephone",
    ]
    assert said.out.startswith("good <unk>\n  -> ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["interpolate", "--start=good"], "needs both --start and --end"),
        (["reconstruct", "--text= "], "cannot be used: empty"),
        (["reconstruct", "--text=good <eos> day"], "<eos> is the token for"),
        (["sample", "--output=."], ". is a folder"),
        (["sample", "--mean"], "mean is an option for images"),
        (["sample", "--temperature=-1"], "temperature must be 0"),
        (["sample", "--num_beams=2", "--top_k=2"], "beam search does not sample"),
    ],
)
def test_bad_requests_are_refused(
    text_run: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    assert message in error_of(capsys, *args, "--ckpt_path=best")


def test_the_unknown_word_itself_is_known(text_run: Path) -> None:
    assert (
        TextCodec.of(GenerativeModel.load_from_checkpoint(text_run / "checkpoints/best.ckpt")).unknown("<unk> day")
        == []
    )


def test_options_for_text_are_refused_for_images(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "top_k is an option for text" in error_of(capsys, "sample", "--ckpt_path=last", "--top_k=3")
    assert "text is a sentence" in error_of(capsys, "reconstruct", "--ckpt_path=last", "--text=hello")


def test_a_vocabulary_of_another_run_is_refused(
    text_run: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = str(text_run / "checkpoints/best.ckpt")
    write_corpus(WORDS[::-1])  # as many words, in another order
    for args in (["test"], ["fit"], ["reconstruct"]):
        message = error_of(capsys, *args, "--ckpt_path", path)
        assert "another vocabulary" in message
        assert "data.vocab_file" in message
    with caplog.at_level(logging.INFO):
        main(["test", "--ckpt_path", path, f"--data.vocab_file={text_run}/vocabulary.json", *QUIET])
    (message,) = [message for message in caplog.messages if "vocabulary.json" in message]
    assert "vocab_size, tokenization, lowercase, split_punctuation and normalization are not used" in message


def test_sentences_reach_the_text_tab(text_run: Path) -> None:
    events = read_events(text_run)
    tags = {f"text/{name}/text_summary" for name in ("samples", "reconstructions", "interpolations")}
    assert tags <= set(events.Tags()["tensors"])
    table = events.Tensors("text/reconstructions/text_summary")[0].tensor_proto.string_val[0].decode()
    assert table.startswith("| sentence | reconstruction |")
    assert "<b>" not in table


def test_the_schedule_is_resumed_exactly(workspace: Path) -> None:
    write_corpus()
    schedule = [
        *("--model.lr_scheduler=skipvae.schedulers.HalveOnPlateau", "--model.lr_scheduler.min_epochs=2"),
        *("--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.0", "--model.lr_scheduler.min_lr=-1"),
    ]
    rates = []
    for name, runs in (("straight", [4]), ("resumed", [2, 3, 4])):
        for number, epochs in enumerate(runs):
            resume = ["--ckpt_path=last"] if number else []
            cli = run(["fit", *SMALL, f"--name={name}", *schedule, *resume, f"--trainer.max_epochs={epochs}"])
        scheduler = cli.trainer.lr_scheduler_configs[0].scheduler
        rates.append((scheduler.last_epoch, scheduler.halving, scheduler.best))
    assert rates[0] == rates[1]
    assert rates[0][:2] == (4, True)


def test_training_ends_below_the_last_rate(workspace: Path) -> None:
    write_corpus()
    cli = run(
        [
            *(
                "fit",
                *SMALL,
                "--model.optimizer=torch.optim.SGD",
                "--model.optimizer.lr=1e-30",
                "--trainer.max_epochs=9",
            ),
            *("--model.lr_scheduler=skipvae.schedulers.HalveOnPlateau", "--model.lr_scheduler.min_epochs=1"),
            *("--model.lr_scheduler.factor=0.01", "--model.lr_scheduler.min_lr=1e-31"),
        ]
    )
    assert cli.trainer.current_epoch == 2  # the second epoch is no better: nothing moves at such a rate
