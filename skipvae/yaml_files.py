"""Reading the YAML files of users, with one clear line for what is wrong with one."""

from pathlib import Path
from typing import Any

import yaml


def load_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ValueError: if it is not YAML, or a key stands twice in a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        twice = _key_that_stands_twice(yaml.compose(text, Loader=yaml.SafeLoader))
        if twice is not None:
            raise ValueError(f"{path}: {twice} stands twice in the same mapping: rename or remove one")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        what = " ".join(str(error).replace('in "<unicode string>",', "in").split())
        raise ValueError(f"{path} is not YAML: {what}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file") from error


def _key_that_stands_twice(node: Any) -> str | None:
    """YAML readers let the second of two equal keys replace the first in silence."""
    if isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        return twice or next(filter(None, (_key_that_stands_twice(value) for _, value in node.value)), None)
    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, map(_key_that_stands_twice, node.value)), None)
    return None
