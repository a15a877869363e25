"""The folder of a run's TensorBoard logs, and the settings that TensorBoard shows."""

import json
import os
import shlex
from argparse import Namespace
from collections.abc import Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning import LightningModule
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter

from skipvae.callbacks import markdown
from skipvae.compatibility import write_hparams
from skipvae.metrics.registry import METRICS
from skipvae.persistence.strict_yaml import dump_text

Scalar = bool | int | float | str
CHARTS = {
    "training, validation and test": {
        name: ["Multiline", [f"^(train|val|test)/{key}$"]]
        for name, key in (("ELBO", "elbo"), ("reconstruction", "reconstruction"), ("KL", "kl"))
    }
}
"""Charts of several curves each, for the tab "Custom Scalars": chart -> names of curves, as a regular expression."""


class RunLogger(TensorBoardLogger):
    """TensorBoard logs in `save_dir/name/version_N`, with an hparams tab that compares runs.

    The tab lists the settings of a run beside the latest value of everything it logged. Settings are what is passed
    to `log_hyperparams` before the run starts, else the description of the model. They are written without a list of
    columns: TensorBoard then finds the columns in all runs, while the list of one run would hide what others have. It
    sorts the columns by name and shows the first few, so the metrics that the registry calls headlines are written
    once more as headline/val/KEY and headline/test/KEY.

    The result of a test is one number, and TensorBoard's scalar page draws a single point on an axis from 0 to 1 only:
    test/... is written at step 0 and at the step of the checkpoint, a horizontal line to compare the curves with.

    Args:
        save_dir: folder of all runs.
        name: folder of the runs that belong together.
        version: a number, or the name of the run's folder; the next free number when not given.
        **kwargs: as for `TensorBoardLogger`.

    Raises:
        ValueError: if name or version lead out of the folder.

    Example:
        >>> RunLogger("lightning_logs", name="digits", version=3).log_dir
        'lightning_logs/digits/version_3'
    """

    def __init__(
        self,
        save_dir: str | Path = "lightning_logs",
        name: str = "",
        version: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        for part in (name, str(version)):
            if os.path.isabs(part) or ".." in Path(os.path.expandvars(part)).parts:
                raise ValueError(
                    f"the run {part!r} would lie outside of {save_dir}: give it a name without .. and root"
                )
        super().__init__(save_dir, name=name, version=version, default_hp_metric=False, **kwargs)
        self._with_hyperparams = False
        self._numbered = version is None
        self._number: int | None = None

    @property
    def version(self) -> int | str:
        """The number of the run, or the name of its folder; without one, the next that is free when the run starts."""
        return super().version if self._number is None else self._number

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """The writer; it makes the folder of the run, and two runs that start together never share one."""
        while self._numbered and "://" not in self.root_dir:
            try:
                os.makedirs(self.log_dir)
                self._numbered = False
            except FileExistsError:
                self._number = int(self.version) + 1
        writer: SummaryWriter = super().experiment
        return writer

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, metrics: dict[str, Any] | None = None, step: int | None = None
    ) -> None:
        """Writes the settings of the run, nested as in a config; only the first call counts: TensorBoard keeps one set.

        Args:
            params: settings; see `flatten`.
            metrics: values to log along with them.
            step: step of these values.
        """
        flat = flatten(vars(params) if isinstance(params, Namespace) else params)
        self.hparams = {**flat, **self.hparams}
        if flat and not self._with_hyperparams:
            self._with_hyperparams = True
            # The id keeps runs with equal settings apart, which would be averaged otherwise.
            write_hparams(self.experiment, flat, trial=relpath(self.log_dir, self.save_dir))
            self.experiment.add_text("run/config", markdown.code(dump_text(plain(params))))
            self.experiment.add_custom_scalars(CHARTS)
        if metrics:
            self.log_metrics(metrics, step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes scalars; not the epoch that Lightning adds to each, which would be the first thing on every page."""
        shown = {name: value for name, value in metrics.items() if name != "epoch"}
        shown |= headlines(shown)
        of_test = {name: value for name, value in shown.items() if name.startswith(("test/", "headline/test/"))}
        if of_test and step:
            super().log_metrics(of_test, 0)
        super().log_metrics(shown, step)

    @rank_zero_only
    def log_command(self, command: Sequence[str], step: int) -> None:
        """Writes the command line, the name of the program included, that the run is started with at a step."""
        lines = shlex.join(command).replace(" --", " \\\n    --")
        self.experiment.add_text("run/command", markdown.code(lines), step)

    @rank_zero_only
    def log_graph(self, model: LightningModule, input_array: Any = None) -> None:  # type: ignore[override]
        """Called when a run starts; describes the model if nothing has described the run by then."""
        described = self._with_hyperparams or Path(self.log_dir, self.NAME_HPARAMS_FILE).exists()
        if not described and hasattr(model, "spec"):
            self.log_hyperparams({"model": model.spec})
        super().log_graph(model, input_array)


def headlines(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics val/KEY and test/KEY that the registry calls headlines, as headline/val/KEY and headline/test/KEY.

    The ELBO is one only where log p(x) is not known better.

    Example:
        >>> headlines({"test/elbo": -90.0, "test/nll": 85.0, "test/ari": 0.4, "train/kl": 3.0})
        {'headline/test/nll': 85.0}
    """
    keys = {f"{stage}/{metric.key}" for stage in ("val", "test") for metric in METRICS if metric.headline}
    keys -= {name.replace("/nll", "/elbo") for name in metrics if "/nll" in name}
    return {f"headline/{name}": value for name, value in metrics.items() if name in keys}


def plain(settings: Any) -> Any:
    """Settings in the types that YAML knows."""
    return json.loads(
        json.dumps(settings, default=lambda value: vars(value) if isinstance(value, Namespace) else str(value))
    )


def flatten(config: dict[str, Any]) -> dict[str, Scalar]:
    """The values of a nested configuration, under the names by which the command line knows them.

    A class stands under its own name, without its module; None is left out, and lists of values are written as text.

    Example:
        >>> arguments = {"skip": True, "image_shape": [1, 28, 28]}
        >>> decoder = {"class_path": "skipvae.decoders.MLPDecoder", "init_args": arguments}
        >>> flatten({"model": {"decoder": decoder}, "seed_everything": 1, "ckpt_path": None})
        {'model.decoder': 'MLPDecoder', 'model.decoder.skip': True, 'model.decoder.image_shape': '[1, 28, 28]',
         'seed_everything': 1}
    """
    flat: dict[str, Scalar] = {}
    _flatten(config, "", flat)
    return flat


def _flatten(value: Any, key: str, flat: dict[str, Scalar]) -> None:
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, dict) and isinstance(value.get("class_path"), str):
        flat[key] = value["class_path"].rpartition(".")[-1]
        value = value.get("init_args") or {}
    if isinstance(value, dict):
        for name, item in value.items():
            _flatten(item, f"{key}.{name}" if key else str(name), flat)
    elif isinstance(value, list) and any(isinstance(item, (dict, Namespace)) for item in value):
        for index, item in enumerate(value):
            _flatten(item, f"{key}.{index}", flat)
    elif value is not None:
        flat[key] = value if isinstance(value, (bool, int, float, str)) else str(value)
