"""No number depends on how many processes a run has, and none of them waits for one that has gone."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from skipvae import VAE
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from tests.command_line import QUIET, ROOT, overridden, plain
from tests.faults.conftest import Inject
from tests.faults.processes import Child, together
from tests.faults.work import MODELS, RUNS, command, results, train, write_corpus

LAST = RUNS / "version_0/checkpoints/last.ckpt"
EVALUATED = {"images": "--data.eval_batch_size=80", "text": "--data.eval_batch_size=1"}  # 7 and 6 batches

BY_TRAINING_BATCHES = {"nmi", "ari", "num_probe_examples"} | {
    f"{kind}_accuracy{part}" for kind in ("probe", "knn", "majority", "bag_of_words") for part in ("", "_stderr")
}
"""Labels: which training examples are left out of an incomplete batch depends on the number of processes."""


def ddp(count: int, nodes: int = 1) -> tuple[str, ...]:
    return (f"--trainer.devices={count}", f"--trainer.num_nodes={nodes}", "--trainer.strategy=ddp")


# -- evaluation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        ("images", (3,)),
        pytest.param("images", (2,), marks=pytest.mark.faults),
        pytest.param("images, SA", (2, 3), marks=pytest.mark.faults),
        pytest.param("text", (2, 3), marks=pytest.mark.faults),
        pytest.param("text, SA", (2, 3), marks=pytest.mark.faults),
    ],
)
def test_several_processes_measure_what_one_does(tmp_path: Path, inject: Inject, model: str, counts: Any) -> None:
    write_corpus(tmp_path, sentences=70)  # 7 for test
    Child(train, model, ["--trainer.max_epochs=1"], folder=tmp_path).done()
    args = ["test", "--ckpt_path", str(LAST), *QUIET, EVALUATED[model.partition(",")[0]]]
    Child(results, args, "alone", folder=tmp_path).done()
    alone = json.loads((tmp_path / "alone_0.json").read_text())
    assert {"elbo", "nll", "kl", "mi", "au"} < alone.keys()
    assert ("ppl" in alone) == model.startswith("text")
    for count in counts:
        with inject(f"test in {count} processes: {model}"):
            for child in together(results, [*args, *ddp(count)], f"of{count}", count=count, folder=tmp_path):
                child.done()
            for rank in range(count):
                found = json.loads((tmp_path / f"of{count}_{rank}.json").read_text())
                assert found.keys() == alone.keys()
                for name in alone.keys() - BY_TRAINING_BATCHES:
                    value = alone[name]
                    is_text = isinstance(value, str)
                    assert found[name] == (value if is_text else pytest.approx(value, rel=1e-6, abs=1e-9)), name


# -- training ---------------------------------------------------------------------------------------------------------


def train_without_noise(args: Sequence[str], output: str) -> None:
    """Every noise is zero: what remains must not depend on how a batch is shared out. Writes the weights."""
    rsample = DiagonalGaussian.rsample
    DiagonalGaussian.rsample = lambda self, noise=None: rsample(self, torch.zeros_like(self.mean))  # type: ignore
    torch.randn_like = torch.zeros_like
    cli = plain(["fit", *args])
    if cli.trainer.is_global_zero:
        torch.save(cli.model.state_dict(), output)


@pytest.mark.parametrize("model", [m if m == "text" else pytest.param(m, marks=pytest.mark.faults) for m in MODELS])
def test_two_processes_with_half_the_batch_learn_what_one_does(tmp_path: Path, inject: Inject, model: Any) -> None:
    write_corpus(tmp_path)
    # plain gradient descent, since Adam divides by gradients that are all but zero
    sgd = ("--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.01", "--trainer.max_epochs=2")
    still = ("--model.decoder.dropout=0",) if model.startswith("text") else ()
    args = [*MODELS[model], *sgd, *still, "--trainer.limit_val_batches=0", "--trainer.logger=false"]
    batch = 8 if model.startswith("text") else 50
    with inject(f"train in 2 processes: {model}"):
        Child(train_without_noise, [*args, f"--data.batch_size={batch}"], "one.pt", folder=tmp_path).done()
        halved = [*args, f"--data.batch_size={batch // 2}", *ddp(2)]
        for child in together(train_without_noise, halved, "two.pt", count=2, folder=tmp_path):
            child.done()
        one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
        moved = 0.0
        for name, weight in one.items():
            assert torch.allclose(weight, two[name], rtol=1e-4, atol=2e-6), name
            moved = max(moved, float(weight.abs().max()))
        assert moved > 0


@pytest.mark.parametrize("model", [pytest.param(name, marks=pytest.mark.faults) for name in MODELS])
def test_three_processes_train_and_none_waits_for_a_batch(tmp_path: Path, inject: Inject, model: Any) -> None:
    """The training split does not divide by three, and no parameter goes unused (plain DDP would stop)."""
    write_corpus(tmp_path, sentences=64)
    args = [*MODELS[model], "--trainer.max_epochs=2", *ddp(3), "--data.batch_size=7", "--data.eval_batch_size=2"]
    with inject(f"train in 3 processes with uneven data: {model}"):
        for child in together(command, "fit", *args, count=3, folder=tmp_path):
            child.done()
        assert os.listdir(tmp_path / "lightning_logs/tiny") == ["version_0"]


# -- when one of them fails -------------------------------------------------------------------------------------------


def fail(rank: int, error: str, where: str, *args: str) -> None:
    """One process fails in the middle; the others wait for it in the next exchange of gradients or metrics."""
    original = getattr(VAE, where)
    errors: dict[str, Exception] = {"user": ValueError("the third batch is bad"), "own": KeyError("a bug")}

    def failing(self: Any, batch: Any, batch_idx: int) -> Any:
        if self.trainer.global_rank == rank and batch_idx == 2:
            raise errors[error]
        return original(self, batch, batch_idx)

    setattr(VAE, where, failing)
    command(*args)


@pytest.mark.parametrize(
    ("rank", "error", "where"),
    [
        (1, "user", "training_step"),
        *(
            pytest.param(rank, error, where, marks=pytest.mark.faults)
            for rank in (0, 1)
            for error in ("user", "own")
            for where in ("training_step", "validation_step")
            if (rank, error, where) != (1, "user", "training_step")
        ),
    ],
)
def test_an_error_in_one_process_ends_all_with_its_message(
    tmp_path: Path, inject: Inject, rank: Any, error: Any, where: Any
) -> None:
    with inject("an error in one of two processes"):
        args = ["fit", *MODELS["images"], *ddp(2), "--data.batch_size=10", "--data.eval_batch_size=50"]
        children = together(fail, rank, error, where, *args, count=2, folder=tmp_path)
        guilty, other = children[rank], children[1 - rank]
        status = guilty.wait(60)
        begin = time.monotonic()
        if error == "user":
            assert status == 2
            assert guilty.said.splitlines()[-1].startswith(f"skipvae: error: the third batch is bad ({__file__}:")
            assert "Traceback" not in guilty.said
        else:
            assert status == 1
            assert "KeyError: 'a bug'" in guilty.said
        assert other.wait(30) != 0
        assert time.monotonic() - begin < 20


FAILING = """
from skipvae import VAE


class Fails(VAE):
    def training_step(self, batch, batch_idx):
        if self.trainer.global_rank == {rank} and batch_idx == 2:
            raise ValueError("the third batch is bad")
        return super().training_step(batch, batch_idx)
"""


def alive(marker: str) -> list[str]:
    """The processes that have this word in their command."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if marker in words:
            found.append(words.replace("\0", " "))
    return found


@pytest.mark.faults
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_process_ends_those_that_skipvae_started(workspace: Path, inject: Inject, rank: int) -> None:
    Path("failing.py").write_text(FAILING.format(rank=rank))
    name = f"ends{os.getpid()}{rank}"
    args = [*MODELS["images"], *ddp(2), "--data.batch_size=10", f"--name={name}"]
    args += ["--model=failing.Fails", *(arg for arg in args if arg.startswith("--model."))]
    with inject("an error in one of two processes that skipvae started"):
        done = subprocess.run(
            [sys.executable, "-m", "skipvae", "fit", *overridden(args)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode != 0
        assert "skipvae: error: the third batch is bad" in done.stderr
        end = time.monotonic() + 20
        while alive(name) and time.monotonic() < end:
            time.sleep(0.2)
        assert not alive(name)


# -- several machines -------------------------------------------------------------------------------------------------


@pytest.mark.faults
def test_two_nodes_of_two_processes_measure_what_one_process_does(tmp_path: Path, inject: Inject) -> None:
    """The environment of four processes on two machines, without starting torchrun."""
    with inject("two nodes of two processes"):
        Child(train, "images", ["--trainer.max_epochs=1"], folder=tmp_path).done()
        args = ["test", "--ckpt_path", str(LAST), *QUIET, "--data.eval_batch_size=80"]
        Child(results, args, "alone", folder=tmp_path).done()
        for child in together(results, [*args, *ddp(2, nodes=2)], "nodes", count=4, local=2, folder=tmp_path):
            child.done()
        alone, together_ = (json.loads((tmp_path / f"{name}_0.json").read_text()) for name in ("alone", "nodes"))
        for name in alone.keys() - BY_TRAINING_BATCHES:
            assert together_[name] == pytest.approx(alone[name], rel=1e-6, abs=1e-9), name


@pytest.mark.faults
def test_torchrun_on_two_nodes(workspace: Path, inject: Inject) -> None:
    """As on two machines, with the command of the documentation."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    args = ["-m", "skipvae", "fit", *overridden([*MODELS["images"], "--trainer.max_epochs=1", *ddp(1, nodes=2)])]
    with inject("torchrun on two nodes"):
        nodes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1"),
                    *(f"--node_rank={rank}", "--master_addr=127.0.0.1", f"--master_port={port}", *args),
                ],
                env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(2)
        ]
        said = [node.communicate(timeout=240)[0] for node in nodes]
        assert [node.returncode for node in nodes] == [0, 0], said
        saved = torch.load(LAST, weights_only=True)
        assert saved["global_step"] == 2  # 200 examples, 2 processes, batches of 50
        assert os.listdir("lightning_logs/tiny") == ["version_0"]
        assert len(re.findall("best checkpoint:", "".join(said))) == 1
