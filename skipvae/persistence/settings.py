"""Settings of runs: the differences of two configs, and the settings that may change when a run is resumed."""

from collections.abc import Collection, Iterator
from typing import Any

from pytorch_lightning.callbacks import (
    DeviceStatsMonitor,
    LearningRateMonitor,
    ModelSummary,
    ProgressBar,
    ThroughputMonitor,
)

from skipvae.persistence.spec import class_at

WHERE = frozenset(
    {
        *("name", "version", "ckpt_path", "weights_only", "data.data_dir", "data.download"),
        *(f"trainer.{name}" for name in ("default_root_dir", "logger", "accelerator", "devices", "num_nodes")),
    }
)
"""Settings of the location of a run and of its files."""

SHOWN = frozenset({"image_grids", "latent_pictures", "table_plots", "text_samples", "predictions"}) | {
    "trainer.log_every_n_steps"
}
"""Settings of what a run displays while it trains."""

MAY_CHANGE = (
    WHERE
    | SHOWN
    | {f"trainer.{name}" for name in ("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time")}
    | {f"trainer.{name}" for name in ("strategy", "plugins", "benchmark", "deterministic", "inference_mode")}
    | {f"trainer.{name}" for name in ("profiler", "detect_anomaly", "fast_dev_run", "num_sanity_val_steps")}
    | {f"trainer.{name}" for name in ("enable_progress_bar", "enable_model_summary", "enable_autolog_hparams")}
    | {f"trainer.{name}" for name in ("barebones", "limit_test_batches", "limit_predict_batches")}
    | {"model.num_importance_samples", "model.active_threshold", "model.compile"}
    | {"model.max_mi_examples", "model.max_probe_examples"}
    | {"data.eval_batch_size", "data.num_workers", "data.pin_memory"}
    | {"checkpoints.every_n_train_steps", "init_from", "init_parts"}
)
"""Settings that may change when a run is resumed: of its length, location, measurements and displays.

These settings are read afresh by the call that resumes, and the weights do not depend on them (on the number of devices
only as far as batches are dealt out). All others decide the trajectory. Some of them a checkpoint would override
silently, since it holds the state of the optimiser, the scheduler and the callbacks with their settings; the others,
such as the data, beta or the clipping, would make an experiment of two halves that no config describes. So the rest is
refused, also settings that a class of the user's or a later version adds.
"""

WATCHERS = (ProgressBar, ModelSummary, LearningRateMonitor, DeviceStatsMonitor, ThroughputMonitor)
"""Callbacks that only observe, so that they may be added and removed."""

ABSENT = "nothing"


def differences(
    made: Any, wanted: Any, aside: Collection[str] = WHERE | SHOWN, key: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """The settings that differ between two configs.

    An argument that only one of two equal classes has is a change of code and no difference.

    Args:
        made: config of a run, of plain types.
        wanted: the other config.
        aside: settings to leave out.
        key: where in a config these are.

    Returns:
        The name on the command line and both values of each.

    Example:
        >>> list(differences({"data": {"batch_size": 1, "b": 2}}, {"data": {"batch_size": 3}}))
        [('data.batch_size', 1, 3)]
    """
    if key == "trainer.callbacks":
        before, after = _by_class(made), _by_class(wanted)
        for name in sorted(before.keys() | after.keys()):
            yield from differences(before.get(name, ABSENT), after.get(name, ABSENT), aside, f"{key}.{name}")
        return
    first, second = _arguments(made, key), _arguments(wanted, key)
    if _same_class(_class(made), _class(wanted)) and first is not None and second is not None:
        for name in sorted(first.keys() & second.keys()):
            inner = f"{key}.{name}".lstrip(".")
            if inner not in aside:
                yield from differences(first[name], second[name], aside, inner)
    elif made != wanted:
        yield key, _class(made) or made, _class(wanted) or wanted


def _class(value: Any) -> Any:
    return value.get("class_path") if isinstance(value, dict) else None


def _same_class(path: Any, other: Any) -> bool:
    """Whether two paths name one class, which may have moved since a run was made."""
    if path == other or not (isinstance(path, str) and isinstance(other, str)):
        return bool(path == other)
    try:
        return class_at(path) is class_at(other)
    except (ImportError, AttributeError, ValueError):  # a class that is no longer there
        return False


def _arguments(value: Any, key: str) -> dict[str, Any] | None:
    """The arguments of a class, or the settings of a section of the config; None for plain values."""
    if _class(value) is not None:
        return {**(value.get("init_args") or {}), **{name: value[name] for name in value.keys() & {"dict_kwargs"}}}
    return value if isinstance(value, dict) and "." not in key else None


def _by_class(callbacks: Any) -> dict[str, Any]:
    """The callbacks of a config by the name of their class, without those that only observe."""
    found: dict[str, Any] = {}
    for callback in callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []:
        path = str(_class(callback) or callback)
        name = path.rpartition(".")[2]
        if not ("." in path and issubclass(class_at(path), WATCHERS)):
            found[name if name not in found else f"{name}.{len(found)}"] = callback
    return found
