"""Components: parts of a model that keep their constructor arguments, so that a checkpoint can rebuild them.

A checkpoint holds plain types only: the name of each class and its arguments. Loading one runs no code from the
file, imports nothing that the file names, and works the same for models made by the command line and in Python.
"""

import copy
import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, ClassVar, Self, TypeVar

Spec = dict[str, Any]
PLAIN = (bool, int, float, str, type(None))


class Component:
    """Mixin for encoders, decoders, inference and models: `spec` describes the object in plain types.

    Class attributes:
        not_in_spec: names of arguments that do not describe the model itself (optimisers, evaluation settings)
            and therefore do not travel in checkpoints.
    """

    not_in_spec: ClassVar[frozenset[str]] = frozenset()
    known: ClassVar[dict[str, type["Component"]]] = {}
    _init_args: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Component.known[class_path(cls)] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self: Self = super().__new__(cls)
        # `bind_partial`, since copying calls __new__ without arguments and restores `_init_args` itself.
        signature = inspect.signature(cls.__init__)
        init_args = signature.bind_partial(self, *args, **kwargs).arguments
        del init_args["self"]
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                init_args |= init_args.pop(name, {})
        object.__setattr__(self, "_init_args", init_args)
        return self

    @property
    def spec(self) -> Spec:
        """The class and its arguments in plain types: `{"class_path": ..., "init_args": {...}}`.

        Raises:
            ValueError: if an argument is neither plain nor a `Component`.
        """
        path = class_path(type(self))
        args = {name: value for name, value in self._init_args.items() if name not in self.not_in_spec}
        return {
            "class_path": path,
            "init_args": {name: _plain(value, f"{path}({name}=...)") for name, value in args.items()},
        }


AnyComponent = TypeVar("AnyComponent", bound=Component)


def class_path(cls: type) -> str:
    """The shortest path under which users know a class: `skipvae.encoders.MLPEncoder`, not the file it stands in."""
    module = cls.__module__
    if module.startswith("skipvae."):
        package = module.split(".")[1]
        module = "skipvae" if package == "models" else f"skipvae.{package}"
    return f"{module}.{cls.__qualname__}"


def class_at(path: str) -> Any:
    """The class that a path such as `skipvae.encoders.MLPEncoder` names.

    Raises:
        ModuleNotFoundError: if there is no such module.
        AttributeError: if the module has no such class.
    """
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def class_paths(config: Any) -> Iterator[str]:
    """The path of every class that a config names, at any depth.

    Example:
        >>> list(class_paths({"model": {"class_path": "skipvae.VAE", "init_args": {"parts": [{"class_path": "a.B"}]}}}))
        ['skipvae.VAE', 'a.B']
    """
    if isinstance(config, dict):
        path = config.get("class_path")
        if isinstance(path, str) and "." in path:
            yield path
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from class_paths(value)


def build(spec: Any, kind: type[AnyComponent], **overrides: Any) -> AnyComponent:
    """The object that a `spec` describes.

    Args:
        spec: `{"class_path": ..., "init_args": {...}}`, as in `Component.spec`.
        kind: the class that the result must be an instance of.
        **overrides: arguments that replace those of the spec.

    Raises:
        ValueError: if the spec is malformed, names a class that is not imported, or one that is not a `kind`.

    Example:
        >>> from skipvae.encoders import MLPEncoder, Encoder
        >>> encoder = MLPEncoder(latent_dim=2, hidden_dim=8)
        >>> build(encoder.spec, Encoder).spec == encoder.spec
        True
    """
    path, init_args = (spec.get("class_path"), spec.get("init_args", {})) if isinstance(spec, dict) else (None, None)
    if not isinstance(path, str) or not isinstance(init_args, dict):
        raise ValueError(f"not a description of a {kind.__name__}: it needs a class_path and init_args")
    cls = Component.known.get(path)
    if cls is None:
        raise ValueError(f"the class {path} is not known here: import the module that defines it before loading")
    if not issubclass(cls, kind):
        raise ValueError(f"{path} is not a {class_path(kind)}")
    arguments = {name: _built(value) for name, value in init_args.items()} | overrides
    try:
        return cls(**arguments)
    except TypeError as error:  # a wrong argument name: the file comes from another version, or is broken
        raise ValueError(f"{path} cannot be built from its description: {error}") from error


def difference(there: Any, here: Any, where: str = "") -> str | None:
    """The first argument in which two specs differ, with its two values; None if there is none.

    Example:
        >>> from skipvae.decoders import MLPDecoder
        >>> difference(MLPDecoder(2, num_layers=3).spec, MLPDecoder(2).spec, "decoder")
        'decoder.num_layers is 3 there and 2 here'
    """
    if not (_is_spec(there) and _is_spec(here) and there["class_path"] == here["class_path"]):
        return None if there == here else f"{where or 'the model'} is {_short(there)} there and {_short(here)} here"
    cls = Component.known.get(here["class_path"])
    parameters = inspect.signature(cls.__init__).parameters if cls else {}
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    there, here = defaults | there["init_args"], defaults | here["init_args"]
    names = (name for name in here if name in there and name != "self")
    found = (difference(there[name], here[name], f"{where}.{name}".lstrip(".")) for name in names)
    return next((text for text in found if text), None)


def _short(value: Any) -> str:
    return str(value["class_path"]) if _is_spec(value) else str(value)


def _is_spec(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"class_path", "init_args"}


def _built(value: Any) -> Any:
    return build(value, Component) if _is_spec(value) else copy.copy(value)


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Component):
        return value.spec
    if type(value) in PLAIN:
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item, where) for key, item in value.items()}
    if isinstance(value, Iterable) and isinstance(value, (list, tuple)):
        return [_plain(item, where) for item in value]
    raise ValueError(
        f"{where} is a {type(value).__name__}, which a checkpoint cannot hold: use plain types or a Component"
    )
