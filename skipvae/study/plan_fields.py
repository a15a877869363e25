"""Fields of a study file, each checked as it is read, with an error message that says where it is wrong."""

import re
from collections.abc import Set
from pathlib import Path
from typing import Any, NoReturn

Settings = dict[str, Any]
"""Values by command line key: `{"model.decoder.skip": True}`."""


class Fields:
    """The fields of a mapping in a YAML file, each asked for by its type.

    Args:
        path: the file, from whose folder the paths in it start.
        values: the mapping.
        known: the allowed fields; any field when not given.
        where: the part of the file that they stand in.
    """

    def __init__(self, path: Path, values: Any, known: Set[str] | None = None, where: str = "") -> None:
        self.path, self.where = path, where
        if not isinstance(values, dict):
            self.fail(f"expected a mapping such as {{model.decoder.skip: true}}, not {values!r}")
        self.values: dict[str, Any] = {str(key): value for key, value in values.items()}
        for key in self.values.keys() - (known if known is not None else self.values.keys()):
            self.fail(f"there is no field {key}: choose from {', '.join(sorted(known or ()))}")

    def fail(self, problem: str) -> NoReturn:
        """Raises a ValueError that says where the problem is."""
        raise ValueError(": ".join(filter(None, [str(self.path), self.where, problem])))

    def mapping(self, key: str) -> dict[str, Any]:
        """A field that is a mapping; empty when missing."""
        return Fields(self.path, self.values.get(key) or {}, where=key).values

    def part(self, key: str, label: str) -> "Fields":
        """The mapping under `key: {label: ...}`."""
        return Fields(self.path, self.mapping(key)[label] or {}, where=f"{key}: {label}")

    def text(self, key: str, default: str) -> str:
        """A field that is text."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or not (value or not default):
            self.fail(f"{key} must be text, not {value!r}")
        return value

    def integers(self, key: str, default: list[int]) -> list[int]:
        """A field that is a list of integers."""
        value = self.values.get(key, default)
        if not isinstance(value, list) or not value or any(type(item) is not int for item in value):
            self.fail(f"{key} must be a list of integers such as {default}, not {value!r}")
        return value

    def files(self, key: str) -> tuple[Path, ...]:
        """A field that is a file or a list of files, relative to the file it stands in."""
        value = self.values.get(key) or []
        files = tuple(self.path.parent / str(name) for name in (value if isinstance(value, list) else [value]))
        for file in files:
            if not file.is_file():
                raise FileNotFoundError(f"{self.path}: there is no {key} config {file}")
        return files


def safe_name(name: str) -> str:
    """A name that can be a folder: anything but letters, digits and . _ = + becomes a hyphen.

    Example:
        >>> safe_name("LANGUAGE MODEL")
        'LANGUAGE-MODEL'
    """
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-.") or "-"
