"""What docs/your_own.md shows works as it stands there."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.command_line import QUIET, ROOT, plain

PAGE = (ROOT / "docs" / "your_own.md").read_text()
COMMANDS = [block.replace("\\\n", "") for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)]
QUICK = (*QUIET, "--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=2")


@pytest.mark.parametrize(
    "command", COMMANDS, ids=["text", "a column of text", "pictures", "tables", "images and networks", "optimiser"]
)
def test_the_page_works(workspace: Path, monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    monkeypatch.syspath_prepend(str(workspace))
    Path("configs").symlink_to(ROOT / "configs")
    Path("mine.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)))
    subjects, places = ["the cat", "a dog", "my hen"], ["mat", "tree", "roof", "car"]
    sentences = [f"{who} sat on the {place} {n} times" for who in subjects for place in places for n in range(9)]
    Path("mine.txt").write_text("\n".join(sentences))
    rows = (f"{n},{n % 2},{sentence}" for n, sentence in enumerate(sentences))
    Path("reviews.csv").write_text("\n".join(["id,kind,body", *rows]))
    Path("mine.csv").write_text("a;b;kind\n" + "".join(f"{n};{n**0.5};{'ab'[n % 2]}\n" for n in range(100)))
    Path("PICTURES").mkdir()
    for level in range(200):
        Image.new("RGB", (40, 36), (level, 10, 255 - level)).save(f"PICTURES/{level}.png")
    fitted = plain([*shlex.split(command)[1:], *QUICK])
    assert fitted.trainer.global_step == 3
    tested = plain(["test", "--ckpt_path=last", *QUIET, "--trainer.limit_test_batches=1"])
    assert tested.model.spec == fitted.model.spec
