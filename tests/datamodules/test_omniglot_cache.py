"""Omniglot is preprocessed once, whole or not at all."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datamodules.omniglot_files import ready


def test_a_cache_of_another_version_is_not_read(put: Callable[[str], Path], tmp_path: Path) -> None:
    folder = put("chardata")
    whole = ready(tmp_path, "chardata").splits
    (cache,) = folder.glob("*.npz")
    with np.load(cache) as arrays:
        rounded = {**arrays, "images": (255 * arrays["images"]).round().astype(np.uint8)}
    cache.unlink()
    np.savez(folder / "omniglot-chardata-28-v1.npz", **rounded)
    assert ready(tmp_path, "chardata").splits.train.images.equal(whole.train.images)
    np.savez(cache, **rounded)
    with pytest.raises(ValueError, match=r"is damaged .*: delete it"):
        ready(tmp_path, "chardata")


def test_it_is_preprocessed_once(put: Callable[[str], Path], tmp_path: Path) -> None:
    folder = put("npz")
    first = ready(tmp_path, "npz")
    for path in folder.glob("images_*"):
        path.unlink()
    again = ready(tmp_path, "npz", download=False)
    assert again.splits.train.images.equal(first.splits.train.images)
    assert sorted(path.name for path in folder.iterdir()) == ["classes.tsv", "omniglot-npz-28-v2.npz"]


def test_the_users_cache_serves_where_the_folder_cannot_be_written(
    put: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put("npz")
    replace = os.replace

    def read_only(source: Any, target: Any) -> None:
        if folder in Path(target).parents:
            raise PermissionError(f"{target} is read-only")
        replace(source, target)

    monkeypatch.setattr(os, "replace", read_only)
    before = sorted(folder.iterdir())
    ready(tmp_path, "npz")
    assert sorted(folder.iterdir()) == before
    assert [path.name for path in (tmp_path / "cache" / "skipvae").iterdir()] == ["omniglot-npz-28-v2.npz"]
    ready(tmp_path, "npz", cache_dir=str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "omniglot-npz-28-v2.npz").exists()
    with pytest.raises(OSError, match="set cache_dir"):
        ready(tmp_path, "npz", cache_dir=str(folder / "classes.tsv"))


def test_an_interrupted_preprocessing_leaves_nothing(
    put: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put("npz")
    before = sorted(folder.iterdir())

    def interrupted(path: Any, **arrays: Any) -> None:
        Path(path).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ready(tmp_path, "npz")
    assert sorted(folder.iterdir()) == before


def test_several_processes_may_start_together(put: Callable[[str], Path], tmp_path: Path) -> None:
    folder = put("npz")
    context = multiprocessing.get_context("fork")
    start, totals = context.Barrier(4), context.Queue()

    def prepare() -> None:
        start.wait()
        totals.put(int(ready(tmp_path, "npz").splits.train.images.long().sum()))

    processes = [context.Process(target=prepare) for _ in range(4)]
    for process in processes:
        process.start()
    found = {totals.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert found == {int(ready(tmp_path, "npz").splits.train.images.long().sum())}
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("keep", [0, 1000, -1])
def test_a_damaged_cache_is_named(put: Callable[[str], Path], tmp_path: Path, keep: int) -> None:
    folder = put("npz")
    ready(tmp_path, "npz")
    path = folder / "omniglot-npz-28-v2.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"is damaged .*: delete it"):
        ready(tmp_path, "npz")
