"""Messages about classes that a config names and that do not exist, in place of a parser's."""

import inspect
import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from pytorch_lightning import Callback, LightningDataModule
from pytorch_lightning.loggers import Logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from skipvae.persistence.spec import Component

BASES: tuple[type[Any], ...] = (Component, LightningDataModule, Callback, Logger, Optimizer, LRScheduler)
"""Classes whose subclasses a config may name, without a module once that is loaded."""


def about_class(message: str) -> str | None:
    """The message for a user, from a parser's message that a class cannot be found; None if that is of something else.

    Example:
        >>> about_class("Parser key 'model': Problem with given class_path 'skipvae.VEA': module 'skipvae' has no "
        ...     "attribute 'VEA'")
        'model: there is no skipvae.VEA: did you mean skipvae.VAE? Known are Autoregressive, VAE'
    """
    key = ".".join(re.findall(r"Parser key ['\"]([\w.]+)['\"]", message))
    if found := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        path = f"{found[1]}.{found[2]}"
        # Else a module of the user's was found, and has such an error in it.
        return f"{key}: there is no {path}{_known_in(*found.groups())}" if message.count(path) else None
    if found := re.search(r"class_path '(\w+)[\w.]*': No module named '\1'", message):
        return f"{key}: there is no module {found[1]}: work in the folder of {found[1]}.py, or put it on PYTHONPATH"
    if found := re.search(r"Expected a dot import path string: (\w+)", message):
        near = get_close_matches(found[1], {kind.__name__ for base in BASES for kind in _subclasses(base)}, 1)
        meant = f"did you mean {near[0]}?" if near else "give a class with its module, as skipvae.decoders.MLPDecoder"
        return f"{key}: there is no class {found[1]}: {meant}"
    if found := re.search(r"Import path ([\w.]+) does not correspond to a subclass of (\w+)", message):
        return f"{key}: {found[1]} is no {found[2]}"
    return None


def _known_in(module: str, name: str) -> str:
    """The name that was probably meant, and the classes of the module."""
    found = import_module(module)
    classes = sorted(public for public in _public(found) if _is_known(getattr(found, public)))
    modules = [submodule.name for submodule in iter_modules(getattr(found, "__path__", ()))]
    near = get_close_matches(name, [*classes, *modules], 1)
    meant = f": did you mean {module}.{near[0]}?" if near else ""
    return f"{meant}{' ' if meant else ': '}Known are {', '.join(classes)}" if classes else meant


def _is_known(kind: object) -> bool:
    return inspect.isclass(kind) and issubclass(kind, BASES) and not inspect.isabstract(kind)


def _public(module: ModuleType) -> list[str]:
    return list(getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]))


def _subclasses(base: type[Any]) -> Iterator[type[Any]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _subclasses(kind)
