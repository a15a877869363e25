"""What stands beside the perplexity of text."""

import json
from math import log
from pathlib import Path

import pytest

from tests.command_line import QUIET, ROOT, plain

TEXT = (
    *("--config", str(ROOT / "configs/verses/language_model_small.yaml"), "--name=tiny", *QUIET),
    *("--model.decoder.hidden_dim=8", "--model.decoder.embedding_dim=6"),
    *("--data=TextDataModule", "--data.train=mine.txt", "--data.train_size=null", "--data.max_length=6"),
)
RUN = Path("lightning_logs/tiny/version_0")


@pytest.mark.filterwarnings("ignore:unknown words")
def test_numbers_for_text_do_not_depend_on_its_tokens_and_are_those_of_the_split(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = [f"the cat {n} sat {'on a mat ' * (n % 3)}" for n in range(60)]
    Path("mine.txt").write_text("\n".join(text))
    cli = plain(["fit", *TEXT, "--trainer.max_epochs=1", "--data.too_long=truncate"])
    assert cli.trainer.callback_metrics["val/bits_per_byte"] > 0

    plain(["test", f"--ckpt_path={RUN}/checkpoints/best.ckpt", *QUIET])
    record = json.loads((RUN / "metrics.json").read_text())
    assert record["nats_per_word"] == pytest.approx(log(record["ppl"]), rel=1e-12)  # these tokens are words
    assert record["bits_per_byte"] * log(2) == record["nats_per_character"]  # ASCII
    assert record["bits_per_byte"] * log(2) * record["bytes_per_example"] == pytest.approx(record["nll"], rel=1e-12)
    assert record["unk_fraction"] > 0.05
    assert 0 < record["truncated_fraction"] < 1
    assert record["split_facts"]["test"]["unk_fraction"] == record["unk_fraction"]
    assert record["split_facts"]["train"]["unk_fraction"] == 0
    printed = capsys.readouterr().out
    for name in ("nats_per_word", "bits_per_byte", "unk_fraction", "truncated_fraction"):
        assert f"{name} " in printed

    plain(["test", f"--ckpt_path={RUN}/checkpoints/best.ckpt", *QUIET, *LESS])
    (other,) = RUN.glob("with-*/metrics.json")  # measured with other settings
    record = json.loads(other.read_text())
    assert record["num_examples"] == 2
    assert record["ppl"] > 1
    assert not {"bits_per_byte", "unk_fraction"} & record.keys()  # which are those of the whole split


LESS = ("--data.eval_batch_size=2", "--trainer.limit_test_batches=1")
