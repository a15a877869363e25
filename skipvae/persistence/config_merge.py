"""Configs on top of configs: the settings of one file, where those of another win."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from skipvae.errors import arguments_of
from skipvae.persistence.spec import class_at

OF_A_CLASS = {"class_path", "init_args", "dict_kwargs"}
"""The keys of a mapping that describes an object."""


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `base`, where those of `own` win.

    Mappings are merged, everything else is replaced: lists too, and `null` leaves nothing of the base. Keys can be
    written as on the command line, with dots and without `init_args`; `KEY+` adds to a list. Where `own` names another
    class, the arguments in `base` that the new class takes too stay, and the others go; but other data start anew: the
    vocabulary size of one corpus, or the binarisation of its images, would silently be that of another.

    Args:
        base: a config.
        own: a config or a part of one.

    Returns:
        A config that shares nothing with either.

    Raises:
        ValueError: if a class that takes the place of another is named without its module.

    Example:
        >>> base = {"model": {"class_path": "skipvae.VAE", "init_args": {"beta": 1.0}}, "trainer": {"max_epochs": 9}}
        >>> merged(base, {"model.beta": 0.5, "trainer": None})
        {'model': {'class_path': 'skipvae.VAE', 'init_args': {'beta': 0.5}}, 'trainer': None}
    """
    whole = deepcopy(dict(base))
    for key, value in sorted(own.items(), key=lambda entry: "." in str(entry[0])):  # with dots, on top of the rest
        first, *inner = str(key).split(".")
        for name in reversed(inner):
            value = {name: value}
        if first == "data" and _class_of(value) not in (None, _class_of(whole.get(first))):
            whole[first] = None
        _set(whole, first, value)
    return whole


def _set(settings: dict[Any, Any], key: Any, value: Any) -> None:
    """Puts an entry of one mapping on top of another mapping's entry of this name."""
    name = key.rstrip("+") if isinstance(key, str) else key
    if name == key:
        settings.pop(f"{key}+", None)
        settings[key] = _over(settings.get(key), value)
    else:
        name = name if name in settings else key  # a list that starts elsewhere keeps its +
        settings[name] = deepcopy([*_as_list(settings.get(name)), *_as_list(value)])


def _over(base: Any, own: Any) -> Any:
    """A value of a config, where one of another config stands on top of it."""
    if isinstance(base, list) and base and isinstance(own, dict) and "class_path" not in own:
        return [*base[:-1], _over(base[-1], own)]  # as on the command line, trainer.callbacks.NAME is of the last one
    base, own = _as_object(base, own), _as_object(own, base)
    if not (isinstance(base, dict) and isinstance(own, dict)):
        return deepcopy(own)
    if _is_object(base):
        own = own if own.keys() & OF_A_CLASS else {"init_args": own}
        if own.get("class_path") == _class_of(base):  # the short name of the same class
            own = {key: value for key, value in own.items() if key != "class_path"}
        base = _of_class(base, own.get("class_path"))
        own = {key: {} if key == "init_args" and value is None else value for key, value in own.items()}
    whole = dict(base)
    for key, value in own.items():
        _set(whole, key, value)
    return whole


def _of_class(base: dict[str, Any], path: Any) -> dict[str, Any]:
    """An object of another class, with the arguments that both classes take."""
    was, arguments = base["class_path"], base.get("init_args")
    arguments = arguments if isinstance(arguments, dict) else {}
    if path == was or not isinstance(path, str):
        return base
    if "." not in path and arguments:
        raise ValueError(f"name the class {path} with its module (MODULE.{path}), since it takes the place of {was}")
    try:
        takes = arguments_of(class_at(path)) if arguments else []
    except (ImportError, AttributeError, TypeError, ValueError):  # the parser says it in its own words
        takes = []
    return {"class_path": path, "init_args": {name: value for name, value in arguments.items() if name in takes}}


def _as_object(value: Any, other: Any) -> Any:
    """The name of a class stands for an object of it, where it meets a mapping."""
    if not isinstance(value, str) or not isinstance(other, dict):
        return value
    is_path = "." in value and value.replace(".", "").isidentifier()
    return {"class_path": value} if is_path or (_is_object(other) and value == _class_of(other)) else value


def _class_of(value: Any) -> str | None:
    """The name of the class that a value of a config asks for, without its module."""
    path = value.get("class_path") if isinstance(value, dict) else value
    return path.rpartition(".")[2] if isinstance(path, str) else None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("class_path"), str)
