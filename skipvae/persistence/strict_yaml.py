"""The one dialect of YAML that files and command lines are read in: 1.2's, without the surprises of 1.1.

`off`, `no` and `yes` are text, `1e-3` is a number, `1:30` and `010` are text; PyYAML reads them as False, False, True,
text, ninety and eight.
"""

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+",
    "float": r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "merge": "<<",
}
"""Types of plain scalars: the first pattern that fits; anything else stays text."""
_LEADING_ZERO = r"(?![-+]?0[0-9_]+$)"  # 010 is neither eight nor ten


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads YAML 1.2's core schema."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}


class TextKeyLoader(Loader):
    """The same, but keys are text as it stands in the file: names of models, and labels of values."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Takes each key for text."""
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


class Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes text that either dialect would read as something else."""


for _kind, _pattern in SCALARS.items():
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_kind}", re.compile(f"^{_LEADING_ZERO}(?:{_pattern})$"), [None]
        )


def load_text(text: str, loader: type[yaml.SafeLoader] = Loader) -> Any:
    """The content of a YAML text.

    Example:
        >>> load_text("[off, 1e-3, 12:30, 010, true, null]")
        ['off', 0.001, '12:30', '010', True, None]
    """
    return yaml.load(text, loader)


def load_yaml(path: Path, text_keys: bool = False) -> Any:
    """The content of a YAML file.

    Args:
        path: the file.
        text_keys: whether all keys are text, such as `1` and `null`.

    Raises:
        ValueError: if it is not YAML, or a key stands twice in a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        twice = _key_that_stands_twice(yaml.compose(text, Loader=Loader))
        if twice is not None:
            raise ValueError(f"{path}: {twice} stands twice in the same mapping: rename or remove one")
        return load_text(text, TextKeyLoader if text_keys else Loader)
    except yaml.YAMLError as error:
        what = " ".join(str(error).replace('in "<unicode string>",', "in").split())
        raise ValueError(f"{path} is not YAML: {what}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file") from error


def dump_text(data: Any) -> str:
    """A YAML text that is read as these data, also by readers of YAML 1.1.

    Example:
        >>> dump_text({"name": "no"})
        "name: 'no'\\n"
    """
    return str(yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False))


def use_for_arguments() -> None:
    """Makes jsonargparse read files and values, and write configs, in this dialect."""
    from jsonargparse import set_dumper, set_loader

    set_loader("yaml", _load_argument, (yaml.YAMLError,))
    set_dumper("yaml", dump_text)


def _load_argument(text: str) -> Any:
    """A value on the command line, or a file; what YAML would see nothing in, but a user wrote, is text."""
    value, line = load_text(text), text.strip()
    if "\n" in line:
        return value
    comment = value is None and line.startswith("#")
    nothing_in_it = isinstance(value, dict) and bool(value) and all(item is None for item in value.values())
    words = nothing_in_it and (line.endswith(":") or ":" not in line)  # `warning:` and `{a, b}`
    return text if comment or words else value


def _key_that_stands_twice(node: Any) -> str | None:
    """YAML readers let the second of two equal keys replace the first in silence."""
    if isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        return twice or next(filter(None, (_key_that_stands_twice(value) for _, value in node.value)), None)
    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, map(_key_that_stands_twice, node.value)), None)
    return None
