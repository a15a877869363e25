"""The data module of docs/cluster.md streams shards, and a resumed run sees what it would have seen."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import QUIET, ROOT, TINY_MODEL, digits, plain
from tests.same_run import assert_same, load

PAGE = (ROOT / "docs" / "cluster.md").read_text()


@pytest.fixture
def shards(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("litdata", reason="needs litdata")
    from litdata.streaming.writer import BinaryWriter  # `optimize` starts processes, which takes long

    monkeypatch.syspath_prepend(str(workspace))
    Path("configs").symlink_to(ROOT / "configs")
    Path("mine.py").write_text(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0])
    for split, size in (("train", 203), ("val", 40), ("test", 40)):
        Path("shards", split).mkdir(parents=True)
        writer = BinaryWriter(f"shards/{split}", chunk_bytes=40_000)
        for i in range(size):
            writer[i] = (digits().train.images[i].contiguous(), i % 10)
        writer.done()
        writer.merge()


def fit(*options: str) -> Any:
    (command,) = [block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "mine.Shards" in block]
    typed = shlex.split(command.replace("\\\n", ""))[1:]
    return plain([*typed, *QUIET, *TINY_MODEL, "--trainer.log_every_n_steps=1", *options])


@pytest.mark.parametrize("stop", ["--trainer.max_epochs=1", "--trainer.max_steps=3", "--trainer.max_steps=6"])
def test_a_stream_is_resumed_where_it_stopped(shards: None, stop: str) -> None:
    whole = fit("--version=whole", "--trainer.max_epochs=3")
    fit("--version=parts", stop)
    resumed = plain(
        ["fit", "--ckpt_path=lightning_logs/shards/parts", *QUIET, "--trainer.max_steps=-1", "--trainer.max_epochs=3"]
    )
    assert whole.trainer.global_step == resumed.trainer.global_step == 12
    first, second = (load(f"lightning_logs/shards/{run}/checkpoints/last.ckpt") for run in ("whole", "parts"))
    for part in ("state_dict", "optimizer_states"):
        assert_same(first[part], second[part], part)
    tested = plain(["test", "--ckpt_path=lightning_logs/shards/parts", *QUIET])
    assert tested.model.results["num_examples"] == 40
