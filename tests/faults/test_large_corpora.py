"""Corpora larger than memory, and preparations that are killed or meet a full disk."""

import errno
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from datamodules import TextDataModule, corpus_writer
from tests.faults.conftest import Inject
from tests.faults.processes import Child
from tests.faults.test_disks import full_disk
from tests.faults.work import TEXT

LINES = 300_000


def limited(megabytes: int) -> None:
    """Prepares a corpus and reads an epoch of it, in little more memory than the process has before."""
    warm = TextDataModule("few.txt", batch_size=32)
    warm.setup()
    for _ in warm.train_dataloader():
        pass
    status = Path("/proc/self/status").read_text()
    (used,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
    limit = used + megabytes * 1_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
    with pytest.raises(MemoryError):
        [line.split() for line in Path("corpus.txt").read_text().splitlines()]
    data = TextDataModule("corpus.txt", batch_size=64, val_size=1000, test_size=1000)
    data.setup()
    seen = sum(len(tokens) for tokens, _ in data.train_dataloader())
    assert seen == LINES - 2000, seen
    assert data.split_facts["train"]["unk_fraction"] > 0


def test_a_corpus_larger_than_the_limit_of_memory_is_prepared_and_read(tmp_path: Path, inject: Inject) -> None:
    lines = [" ".join(f"w{number * step % 40_009}" for step in range(1, 9)) for number in range(LINES // 10)]
    (tmp_path / "few.txt").write_text("\n".join(lines[:3000]))
    with (tmp_path / "corpus.txt").open("w") as file:
        for part in range(10):
            file.write("\n".join(f"{line} p{part}" for line in lines) + "\n")
    with inject("corpus larger than the limit of memory"):
        Child(limited, 150, folder=tmp_path).done(500)


def killed(function: str) -> None:
    """Prepares a corpus, and is killed in the middle of it."""
    real = getattr(corpus_writer, function)

    def killing(*args: object, **options: object) -> object:
        real(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(corpus_writer, function, killing)
    TextDataModule("corpus.txt").setup()


def test_a_killed_preparation_does_not_hinder_the_next(tmp_path: Path, inject: Inject) -> None:
    (tmp_path / "corpus.txt").write_text("".join(f"the cat number {number}\n" for number in range(60)))
    for function in ("encode_lines", "duplicate_fractions"):
        with inject("killed while a corpus is prepared"):
            assert Child(killed, function, folder=tmp_path).wait() == -signal.SIGKILL
            assert any(name.startswith(".preparing-") for name in os.listdir(tmp_path / ".skipvae"))
    data = TextDataModule(str(tmp_path / "corpus.txt"))
    data.setup()
    assert len(data.splits["train"].ids) == 48
    assert [name.split("-")[0] for name in os.listdir(tmp_path / ".skipvae")] == ["text"]


def slowly() -> None:
    """Prepares a corpus, if no other process does, in a second; says who it was that did it."""
    real = vars(corpus_writer)["duplicate_fractions"]

    def slow(**hashes: Any) -> dict[str, float]:
        Path(f"prepared-by-{os.getpid()}").touch()
        time.sleep(1)
        return real(**hashes)

    vars(corpus_writer)["duplicate_fractions"] = slow
    data = TextDataModule("corpus.txt", batch_size=4)
    assert data.vocab_size == 4 + 3 + 48  # asked for before training
    data.setup()
    print([tokens.tolist() for tokens, _ in data.train_dataloader()])


def test_of_processes_that_start_together_one_prepares(tmp_path: Path, inject: Inject) -> None:
    (tmp_path / "corpus.txt").write_text("".join(f"the cat number {number}\n" for number in range(60)))
    with inject("processes prepare a corpus together", 3):
        children = [Child(slowly, folder=tmp_path, said=f"said_{number}.txt") for number in range(3)]
        said = [child.done() for child in children]
        assert len(list(tmp_path.glob("prepared-by-*"))) == 1
        assert sum("another process prepares" in text for text in said) == 2
        assert len({text.splitlines()[-1] for text in said}) == 1
    assert [name.split("-")[0] for name in os.listdir(tmp_path / ".skipvae")] == ["text"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, inject: Inject) -> None:
    (tmp_path / "corpus.txt").write_text("".join(f"the cat number {number}\n" for number in range(60)))
    with inject("disk full while a corpus is prepared"):
        child = Child(full_disk, 1000, "fit", *TEXT, folder=tmp_path, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
        assert child.wait() == 2, child.said
        error = child.said.splitlines()[-1]
        assert error.startswith("skipvae: error: no folder for prepared data, set cache_dir to one (")
        assert error.count(os.strerror(errno.EFBIG)) == 2
        assert "Traceback" not in child.said
    assert os.listdir(tmp_path / ".skipvae") == os.listdir(tmp_path / "cache/skipvae") == []
