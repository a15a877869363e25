"""Damage: bytes that changed, went missing or came in, and settings of other types and sizes than anyone meant."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

EXPECTED = (ValueError, FileNotFoundError, OSError)
"""What a user is told in one line."""
SECONDS, MEGABYTES = 20, 300

_PLACE = st.floats(0, 1, exclude_max=True)
_PIECE = st.one_of(
    st.binary(max_size=16), st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\x80\x02}.", b"PK\x05\x06", b"[[[[", b"{", b'"'])
)
_EDIT = st.one_of(
    st.tuples(st.just("flip"), _PLACE, st.integers(0, 7)),
    st.tuples(st.just("cut"), _PLACE, st.none()),
    st.tuples(st.just("drop"), _PLACE, st.integers(1, 64)),
    st.tuples(st.just("insert"), _PLACE, _PIECE),
    st.tuples(st.just("overwrite"), _PLACE, _PIECE),
    st.tuples(st.just("repeat"), _PLACE, st.integers(1, 64)),
)
edits = st.lists(_EDIT, min_size=1, max_size=4)
"""A few edits of a file, wherever its size puts them."""

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 3, 10**18, -(10**18), 0.5, -0.0, 1e308, float("nan"), float("inf")]),
    st.sampled_from(["", "x", "../..", "\0", "line\nline", "é" * 50, "a" * 5000, "1", "null", "{", "os.system"]),
    st.sampled_from([[], {}, [1, 2], [[]], {"class_path": "os.system"}, {"class_path": 1, "init_args": []}, {"a": 1}]),
)
"""A value that nobody meant."""


def damaged(content: bytes, changes: list[Any]) -> bytes:
    """The content of a file after some edits."""
    found = bytearray(content)
    for kind, place, how in changes:
        at = int(place * max(1, len(found)))
        if kind == "flip" and found:
            found[min(at, len(found) - 1)] ^= 1 << how
        elif kind == "cut":
            del found[at:]
        elif kind == "drop":
            del found[at : at + how]
        elif kind == "insert":
            found[at:at] = how
        elif kind == "overwrite":
            found[at : at + len(how)] = how
        elif kind == "repeat":
            found[at:at] = found[at : at + how]
    return bytes(found)


def places(content: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of nested dictionaries and lists."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*where, key)
        yield from places(value, (*where, key))


def changed(content: Any, where: tuple[Any, ...], value: Any, remove: bool) -> Any:
    """A copy of nested dictionaries and lists with another value at a place, or none."""
    if not where:
        return value
    key, *rest = where
    copy = dict(content) if isinstance(content, dict) else list(content)
    if rest or not remove:
        copy[key] = changed(copy[key], tuple(rest), value, remove)
    else:
        del copy[key]
    return copy


def thorough(examples: int) -> settings:
    """The same examples at every run, and as many as are asked for."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def bounded() -> Iterator[None]:
    """What happens within ends in time, and takes no memory to speak of."""
    begin, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (8 << 30), hard))  # so that the machine survives a failure
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
        assert grown < MEGABYTES, f"{grown:.0f} MB"
        assert time.process_time() - begin < SECONDS  # not by the clock: others may use the machine
