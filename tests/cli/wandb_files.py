"""The records of W&B runs that were kept offline: W&B reads them when it uploads a run, and no public function does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, FILE_HEADER, HEADER = 32768, 7, 7
FULL, LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """The records of a file run-ID.wandb, a LevelDB log of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), FILE_HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # too little of the block is left for a header
            at += BLOCK - at % BLOCK
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if kind in (FULL, LAST):
            yield Record.FromString(parts)
            parts = b""


def read_run(folder: Path) -> dict[str, Any]:
    """Settings, the last value of everything that was logged, and the ids of the runs, over all commands."""
    settings: dict[str, Any] = {}
    logged: dict[str, Any] = {}
    ids = set()
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        ids.add(file.stem.removeprefix("run-"))
        for record in records(file):
            for update in (*record.run.config.update, *record.config.update):
                settings[update.key or ".".join(update.nested_key)] = json.loads(update.value_json)
            for item in record.history.item:
                logged[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    return {"settings": settings, "logged": logged, "ids": ids}
