"""The plan of a study: the runs that a study file asks for, models x values of varied quantities x seeds."""

import json
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from skipvae.persistence.packaged import own_or_packaged
from skipvae.persistence.saved_runs import LOG_ROOT
from skipvae.persistence.strict_yaml import load_text, load_yaml
from skipvae.study.plan_fields import Fields, Settings, safe_name
from skipvae.study.search_space import Search, Space, read_search

SET_BY_STUDY = {
    "seed_everything": ", and list seeds under seeds:",
    "name": ", and name the study under name:",
    "version": "",
    "trainer.default_root_dir": f"; runs go to {LOG_ROOT}",
}
"""Settings that a study gives to each of its runs, and the advice for those who set them."""


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        model: the row of the table it belongs to.
        varied: the label of each varied quantity that applies, such as `{"K": 20}`.
        seed: of `seed_everything`.
        folder: the run folder, named after the run.
        bases: config files.
        settings: the settings that override those of the config files, by command line key.
        validated: whether its best checkpoint is validated at the end, as a search needs it.
    """

    model: str
    varied: dict[str, Any]
    seed: int
    folder: Path
    bases: tuple[Path, ...]
    settings: Settings
    validated: bool = False

    @property
    def name(self) -> str:
        """Unique in the study."""
        return self.folder.name

    @property
    def arguments(self) -> list[str]:
        """The command line that trains this run: an ordinary `fit`."""
        location = {
            "name": self.folder.parent.name,
            "trainer.default_root_dir": str(self.folder.parent.parent),
            "version": self.name,
        }
        settings = {**self.settings, "seed_everything": self.seed, **location}
        configs = [argument for base in self.bases for argument in ("--config", str(base))]
        return ["fit", *configs, *(f"--{key}={_as_text(value)}" for key, value in settings.items())]


@dataclass(frozen=True)
class Quantity:
    """A varied quantity: the settings that belong to each of its values.

    Attributes:
        name: as in tables and figures.
        values: label and settings; sorted where the labels are numbers, else in the order of the file.
    """

    name: str
    values: tuple[tuple[Any, Settings], ...]

    @property
    def keys(self) -> set[str]:
        """All settings that it touches."""
        return {key for _, settings in self.values for key in settings}


@dataclass(frozen=True)
class SearchedRow:
    """A row of the table whose settings a search completes: a model at one value of each varied quantity.

    Attributes:
        name: of the model and these values; unique in the study.
        runs: one for each seed, without the settings that the search chooses.
        space: those settings; without the ones that the model fixes itself.
    """

    name: str
    runs: tuple[Run, ...]
    space: Space


@dataclass(frozen=True)
class Study:
    """A study file, read.

    Attributes:
        path: the file.
        name: of the study, and of its folder below `lightning_logs`.
        about: the question that it answers; may be empty.
        remarks: notes for readers of its results; may be empty.
        models: the rows, in the order of the file.
        quantities: the varied quantities.
        seeds: of every row and value.
        runs: all runs; for a search none at first, and later the ones of its trials, see `skipvae.study.search`.
        search: the search, if the file asks for one.
        rows: the rows that it searches.
    """

    path: Path
    name: str
    about: str
    remarks: str
    models: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    seeds: tuple[int, ...]
    runs: tuple[Run, ...] = field(repr=False)
    search: Search | None = None
    rows: tuple[SearchedRow, ...] = field(default=(), repr=False)

    @property
    def planned(self) -> tuple[Run, ...]:
        """All runs as the file has them, without the settings that a search chooses."""
        return tuple(run for row in self.rows for run in row.runs) or self.runs

    @property
    def folder(self) -> Path:
        """Where the run folders of the study are."""
        return Path(LOG_ROOT, self.name)


def read_study(path: str | Path) -> Study:
    """Reads a study file and lays out its runs: models x values of the varied quantities x seeds.

    Later settings win: those of the base config, then `overrides`, `vary`, and last those of the model. So a model
    that fixes a varied setting itself is not varied by that quantity, and runs once for all of its values. Likewise a
    search does not choose what the model or `vary` fix.

    Raises:
        FileNotFoundError: if the file or a base config is missing.
        ValueError: if the file does not describe a study, or two runs would have the same name.

    Example:
        >>> study = read_study("configs/quickstart/images.yaml")
        >>> [run.name for run in study.runs]
        ['VAE-seed1', 'SKIP-VAE-seed1']
        >>> study.runs[1].settings
        {'model.decoder.skip': True}
    """
    path = own_or_packaged(Path(path))
    if not path.is_file():
        raise FileNotFoundError(f"there is no study file {path}: see configs/studies for some")
    fields = Fields(
        path,
        load_yaml(path, text_keys=True),
        {"name", "about", "remarks", "base", "overrides", "models", "vary", "search", "seeds"},
    )
    name = safe_name(fields.text("name", path.stem))
    quantities = tuple(_quantity(label, fields.part("vary", label)) for label in fields.mapping("vary"))
    models = {label: fields.part("models", label) for label in fields.mapping("models")}
    if not models:
        fields.fail("name at least one model under models:, such as VAE: {}")
    seeds = fields.integers("seeds", [1])
    search = read_search(fields.values["search"], fields) if "search" in fields.values else None
    space = search.space if search is not None else {}
    runs, rows = list[Run](), list[SearchedRow]()
    varied_keys = {key for quantity in quantities for key in quantity.keys}
    for key in varied_keys & space.keys():
        fields.fail(f"{key} is both varied and searched: take it out of vary: or of search:")
    for label, model in models.items():
        bases = model.files("base") or fields.files("base")
        if not bases:
            fields.fail("name the config that the runs start from under base:")
        own = {key: value for key, value in model.values.items() if key != "base"}
        _check_not_ours(fields, bases, fields.mapping("overrides").keys() | own.keys() | varied_keys | space.keys())
        applying = [quantity for quantity in quantities if not quantity.keys & own.keys()]
        for cell in product(*(quantity.values for quantity in applying)):
            varied = {quantity.name: value for quantity, (value, _) in zip(applying, cell, strict=True)}
            settings = dict(fields.mapping("overrides"))
            for _, of_value in cell:
                settings |= of_value
            parts = "-".join([label, *(f"{quantity}{value}" for quantity, value in varied.items())])
            folders = {seed: Path(LOG_ROOT, name, safe_name(f"{parts}-seed{seed}")) for seed in seeds}
            of_row = [Run(label, varied, seed, folders[seed], bases, settings | own) for seed in seeds]
            searched = {key: domain for key, domain in space.items() if key not in own}
            rows.append(SearchedRow(safe_name(parts), tuple(of_row), searched))
            runs += of_row
    name_of_two, count = Counter(run.name for run in runs).most_common(1)[0]
    if count > 1:
        fields.fail(f"two runs would be called {name_of_two}: rename a model, or remove a repeated value or seed")
    texts = fields.text("about", ""), fields.text("remarks", "").strip()
    study = Study(path, name, *texts, tuple(models), quantities, tuple(seeds), tuple(runs))
    return study if search is None else replace(study, runs=(), search=search, rows=tuple(rows))


def _check_not_ours(fields: Fields, bases: Sequence[Path], keys: Set[str]) -> None:
    """Refuses settings that the study itself gives to each run, and would silently replace."""
    for key, instead in SET_BY_STUDY.items():
        if key in keys:
            fields.fail(f"{key} is set by the study for each run: leave it out{instead}")
    for base in bases:
        content = load_yaml(base)
        trainer = content.get("trainer") if isinstance(content, dict) else None
        if isinstance(trainer, dict) and trainer.get("default_root_dir") is not None:
            fields.fail(f"{base} sets trainer.default_root_dir, but the runs of a study go to {LOG_ROOT}: leave it out")


def _quantity(name: str, given: Fields) -> Quantity:
    """Either `{key: [values], ...}`, where several keys vary together, or `{label: {key: value, ...}, ...}`."""
    if not given.values:
        given.fail("name the settings that are varied: {model.decoder.latent_dim: [2, 10]}")
    if all(isinstance(value, dict) for value in given.values.values()):
        return Quantity(name, _sorted([(_number_or_text(label), value) for label, value in given.values.items()]))
    columns = list(given.values.values())
    if not all(isinstance(column, list) and len(column) == len(columns[0]) > 0 for column in columns):
        given.fail("give each setting a list of values, all equally long: {model.decoder.latent_dim: [2, 10]}")
    rows = zip(*columns, strict=True)
    return Quantity(name, _sorted([(row[0], dict(zip(given.values, row, strict=True))) for row in rows]))


def _number_or_text(label: str) -> int | float | str:
    value = load_text(label)
    return value if type(value) in (int, float) else label


def _sorted(values: list[tuple[Any, Settings]]) -> tuple[tuple[Any, Settings], ...]:
    """By the labels where all are numbers, which are the axis of a figure; else in the order of the file."""
    if all(type(label) in (int, float) for label, _ in values):
        values = sorted(values, key=lambda value: value[0])
    return tuple(values)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
