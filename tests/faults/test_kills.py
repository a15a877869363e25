"""Runs that are killed (SIGKILL, which nothing can catch) and resumed end as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from tests.faults.conftest import Inject
from tests.faults.processes import Child
from tests.faults.work import MODELS, RUNS, curves, train
from tests.same_run import assert_same_run

SAVING = ["--checkpoints.every_n_train_steps=3"]


class Straight(NamedTuple):
    """A run without faults."""

    folder: Path
    metrics: dict[str, float]
    seconds: float


STRAIGHT: dict[str, Straight] = {}


def straight(model: str, tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """The run of a model that nothing disturbs; made once."""
    if model not in STRAIGHT:
        folder = tmp_path_factory.mktemp("straight")
        child = Child(train, model, SAVING, folder=folder)
        assert child.wait_for("training"), child.said
        begin = time.monotonic()
        child.done()
        seconds = time.monotonic() - begin
        STRAIGHT[model] = Straight(folder, json.loads((folder / "done.json").read_text())["metrics"], seconds)
    return STRAIGHT[model]


def last_run(folder: Path) -> Path:
    return max((folder / RUNS).iterdir(), key=lambda run: int(run.name.removeprefix("version_")))


def assert_nothing_lost(folder: Path, wanted: Straight) -> None:
    """Weights, optimiser, the place in the data, metrics, the best checkpoint, and every curve."""
    ours, theirs = last_run(folder), last_run(wanted.folder)
    assert_same_run(ours / "checkpoints/last.ckpt", theirs / "checkpoints/last.ckpt")
    assert_same_run(ours / "checkpoints/best.ckpt", theirs / "checkpoints/best.ckpt")
    metrics = json.loads((folder / "done.json").read_text())["metrics"]
    assert metrics in ({}, wanted.metrics)  # none if the kill came when all was done
    assert curves(ours) == curves(theirs)
    assert {path.name for path in (ours / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def assert_whole(folder: Path) -> None:
    """Whatever is there under its name can be read, and nothing of it is NaN."""
    for path in folder.glob("lightning_logs/*/*/checkpoints/*.ckpt"):
        weights: dict[str, Any] = torch.load(path, weights_only=True)["state_dict"]
        assert all(weight.isfinite().all() for weight in weights.values())


def finish(folder: Path, model: str) -> None:
    Child(train, model, SAVING, folder=folder).done()


PLACES = [
    *(("step", count) for count in (1, 2, 6, 12)),
    *(("gradient", count) for count in (1, 5, 11)),
    *(("validation", count) for count in (1, 2, 5)),
    *(("end of validation", count) for count in (1, 2, 3)),
    *((place, count) for place in ("half written", "written", "renamed") for count in (1, 2, 3, 4, 8)),
]
QUICK = [("validation", 5), ("renamed", 2), ("written", 8)]


@pytest.mark.parametrize(
    ("model", "place"),
    [
        pytest.param(model, place, marks=() if model == "images" and place in QUICK else pytest.mark.faults)
        for model in MODELS
        for place in (PLACES if model == "images" else PLACES[1::3])
    ],
)
def test_killed_at_a_place(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, inject: Inject, model: Any, place: Any
) -> None:
    wanted = straight(model, tmp_path_factory)
    with inject(f"SIGKILL at a chosen place: {model}"):
        assert Child(train, model, SAVING, place, folder=tmp_path).wait() == -signal.SIGKILL
        assert_whole(tmp_path)
        finish(tmp_path, model)
        assert_nothing_lost(tmp_path, wanted)


def killed_again_and_again(folder: Path, model: str, seconds: float, seed: int) -> int:
    """Trains and is killed at up to three random moments, at least one; the number of kills."""
    moment, kills = random.Random(seed), 0
    while kills < 3:
        child = Child(train, model, SAVING, folder=folder)
        assert child.wait_for("training") or child.process.exitcode == 0, child.said
        time.sleep(moment.uniform(0, seconds))
        child.kill()
        if child.process.exitcode == 0:
            if kills:
                break
            shutil.rmtree(folder)  # it was faster than the one whose time was taken
            seconds /= 2
            continue
        assert child.process.exitcode == -signal.SIGKILL, child.said
        kills += 1
        assert_whole(folder)
    return kills


@pytest.mark.parametrize(
    ("model", "seed"),
    [
        pytest.param(model, seed, marks=() if (model, seed) == ("text", 0) else pytest.mark.faults)
        for model, runs in {"images": 6, "images, SA": 3, "text": 4, "text, SA": 3}.items()
        for seed in range(runs)
    ],
)
def test_killed_at_random_moments(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, inject: Inject, model: Any, seed: Any
) -> None:
    wanted = straight(model, tmp_path_factory)
    fault = f"SIGKILL at random moments: {model}"
    with inject(fault, runs=0):
        kills = killed_again_and_again(tmp_path, model, wanted.seconds, seed)
        with inject(fault, runs=kills):
            finish(tmp_path, model)
            assert_nothing_lost(tmp_path, wanted)


def test_killed_runs_leave_no_rubbish(tmp_path: Path, inject: Inject) -> None:
    with inject("what a kill leaves of a checkpoint is cleared"):
        assert Child(train, "images", SAVING, ("half written", 3), folder=tmp_path).wait() == -signal.SIGKILL
        checkpoints = last_run(tmp_path) / "checkpoints"
        assert [name for name in os.listdir(checkpoints) if name.endswith(".partial")]
        finish(tmp_path, "images")
        assert sorted(os.listdir(checkpoints)) == ["best.ckpt", "last.ckpt"]
