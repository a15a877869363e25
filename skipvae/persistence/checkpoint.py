"""Reading checkpoints safely, also those of strangers, and checking that they fit."""

import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer

from skipvae.persistence.migration import upgrade
from skipvae.persistence.spec import Component, Spec, difference

SPEC_KEY = "skipvae"
"""The key of the description of its model in a checkpoint."""


def read_checkpoint(path: str | Path | IO[bytes], map_location: Any = "cpu") -> dict[str, Any]:
    """The content of a checkpoint; tensors and plain types only, so that nothing in the file can run.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no checkpoint, is cut short, or holds pickled code.
    """
    if isinstance(path, (str, Path)) and not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}: see the checkpoints folder of a run")
    broken = f"{path} is not a checkpoint, or was cut short or damaged: take another one of the run"
    try:
        with zipfile.ZipFile(path) as archive:  # anything but an archive is refused unread
            size = archive.start_dir
            if sum(member.file_size for member in archive.infolist()) > size:  # PyTorch compresses nothing
                raise ValueError(broken)
            if archive.testzip() is not None:  # PyTorch writes checksums, but does not compare them
                raise ValueError(broken)
        if not isinstance(path, (str, Path)):
            path.seek(0)
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds pickled code, which is never run: ask for one saved by skipvae") from error
    except Exception as error:  # any kind, depending on the damaged byte
        raise ValueError(broken) from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ValueError(f"{path} is not a checkpoint of a Lightning module: it has no state_dict")
    weights = content["state_dict"]
    if not all(isinstance(name, str) and isinstance(weight, Tensor) for name, weight in weights.items()):
        raise ValueError(f"{path} is not a checkpoint of a Lightning module: its state_dict holds more than tensors")
    if sum(weight.nbytes for weight in weights.values()) > size:  # views that repeat what is there, to fill the memory
        raise ValueError(broken)
    upgrade(content.get(SPEC_KEY), weights)
    return content


def spec_in(content: dict[str, Any], path: object) -> Spec:
    """The description of its model in a checkpoint.

    Raises:
        ValueError: if it has none.
    """
    record = content.get(SPEC_KEY)
    spec = record.get("model") if isinstance(record, dict) else None
    if not isinstance(spec, dict) or not isinstance(spec.get("class_path"), str):
        raise ValueError(f"{path} was not written by skipvae: it does not say which model it holds")
    return spec


def description(content: dict[str, Any], *keys: str) -> Any:
    """An entry of what a checkpoint says about its model, such as "model", or "model", "init_args", "encoder".

    None where there is none: a checkpoint may hold anything.
    """
    found = content.get(SPEC_KEY)
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


@contextmanager
def no_larger_than(weights: dict[str, Tensor], path: object) -> Iterator[None]:
    """Refuses to build a model with far more parameters than its checkpoint holds, whose description sets its size.

    Raises:
        ValueError: if the model is too large, or anything else goes wrong within.
    """
    room = 10_000 + 2 * sum(weight.numel() for weight in weights.values())  # some parameters may be made twice

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal room
        room -= 1 if parameter is None else max(1, parameter.numel())
        if room < 0:
            raise ValueError("it is larger than the one whose weights the file holds")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    except Exception as error:  # any kind, depending on the wrong argument
        raise ValueError(f"{path} describes a model that cannot be built: {error}") from error
    finally:
        hook.remove()


def check_like(saved: Any, own: Any, where: str) -> None:
    """Raises a ValueError unless `saved` can take the place of `own`, part by part.

    A dictionary must have the keys of `own`, a list or tuple its type and length, any other value its type, where an
    int may stand for a float. Where `own` is None anything fits, and so do further keys.

    Args:
        saved: of a checkpoint.
        own: of the run.
        where: name of the value in the message.

    Example:
        >>> check_like({"step": 3, "more": 1}, {"step": 0}, "progress")
        >>> check_like({"step": "3"}, {"step": 0}, "progress")
        Traceback (most recent call last):
        ValueError: the checkpoint is damaged or of another version: its progress.step is '3'
    """
    if isinstance(own, dict):
        fits = isinstance(saved, dict) and own.keys() <= saved.keys()
    elif isinstance(own, (list, tuple)):
        fits = isinstance(saved, type(own)) and len(saved) == len(own)
    else:
        fits = own is None or _same_kind(saved, own)
    if not fits:
        raise ValueError(f"the checkpoint is damaged or of another version: its {where} is {str(saved)[:50]!r}")
    if isinstance(own, dict):
        for key, value in own.items():
            check_like(saved[key], value, f"{where}.{key}")
    elif isinstance(own, (list, tuple)):
        for saved_value, value in zip(saved, own, strict=True):
            check_like(saved_value, value, where)


def _same_kind(saved: Any, own: Any) -> bool:
    """Whether both are bool, both a number, or `saved` is of the type of `own`; for Python a bool is a number, too."""
    if isinstance(saved, bool) or isinstance(own, bool):
        return isinstance(saved, bool) and isinstance(own, bool)
    if isinstance(own, (int, float)):
        return isinstance(saved, (int, float))
    return isinstance(saved, type(own))


def check_optimizer(saved: Any, own: Optimizer) -> None:
    """Raises a ValueError unless the saved state of an optimizer can be that of `own`, which has made no step yet.

    Fused optimizers write to the memory of their state without looking at its size.
    """
    groups = own.state_dict()["param_groups"]
    # Schedulers add entries to the groups that are no settings of the optimizer.
    settings = [{name: group[name] for name in group if name in own.defaults or name == "params"} for group in groups]
    check_like(saved, {"param_groups": settings, "state": {}}, "optimizer")
    if any(group["params"] != mine["params"] for group, mine in zip(saved["param_groups"], groups, strict=True)):
        raise ValueError("the checkpoint is damaged: its optimizer has other parameters")
    expected = _state_after_a_step(own)
    for index, state in saved["state"].items():
        fits = isinstance(state, dict) and (expected is None or index in expected)
        if fits and expected is not None:
            fits = all(name in state and _alike(state[name], value) for name, value in expected[index].items())
        if not fits:
            raise ValueError(f"the checkpoint is damaged: its optimizer's state of parameter {index} does not fit it")


def _state_after_a_step(optimizer: Optimizer) -> dict[int, dict[str, Any]] | None:
    """The state of a copy after a step without gradient: entries differ between optimizers, parameters and groups.

    None if there is no such copy.
    """
    try:
        probe = deepcopy(optimizer)
        for parameter in (parameter for group in probe.param_groups for parameter in group["params"]):
            parameter.grad = torch.zeros_like(parameter)
        probe.step(lambda: 0.0)
    except Exception:  # any kind, from an optimizer of the user's own
        return None
    state: dict[int, dict[str, Any]] = probe.state_dict()["state"]
    return state


def _alike(saved: Any, own: Any) -> bool:
    if not isinstance(own, Tensor):
        number = isinstance(own, (int, float))
        return not number or isinstance(saved, (int, float)) or _alike(saved, torch.zeros(()))
    if own.ndim == 0 and isinstance(saved, (int, float)):
        return True
    return (
        isinstance(saved, Tensor)
        and saved.shape == own.shape
        and saved.layout == own.layout
        and saved.is_floating_point() == own.is_floating_point()
        and (saved.is_contiguous() or saved.stride() == own.stride())
    )


def check_fits(content: dict[str, Any], model: nn.Module, path: object = "the checkpoint") -> None:
    """Raises a ValueError that names the first weight that the model and its checkpoint do not have in common.

    It also names the first argument in which their descriptions differ, such as the kind of a layer.
    """
    weights: dict[str, Tensor] = content["state_dict"]
    found, wanted = (
        {name: " x ".join(map(str, weight.shape)) or "a number" for name, weight in state.items()}
        for state in (weights, model.state_dict())
    )
    for name in wanted | found:
        there, here = found.get(name, "absent"), wanted.get(name, "absent")
        if there != here:
            saved = description(content, "model")
            cause = difference(saved, model.spec) if isinstance(model, Component) and saved else None
            raise ValueError(
                f"{path} does not fit the model: {f'{cause}, so that ' if cause else ''}{name} is {there} there and "
                f"{here} here; "
                "take the config that it was trained with, its data included"
            )
