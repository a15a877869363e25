"""Whether the runs in the folders are the runs that the study asks for, and may stand in one table."""

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from skipvae.errors import USER_ERRORS, one_line
from skipvae.persistence.settings import WHERE, differences
from skipvae.persistence.strict_yaml import load_text, load_yaml
from skipvae.study.plan import Point, Study
from skipvae.study.running.worker import Launch
from skipvae.study.status import Record

Config = dict[str, Any]


def resolve(study: Study, launch: Launch) -> dict[str, Config]:
    """The full config of each point by its name, all defaults included, as the command line understands it.

    Raises:
        ValueError: if the command line does not accept a setting.
    """
    configs: dict[str, Config] = {}
    first_seed: dict[str, Config] = {}
    for point in study.points:  # parsing takes half a second, and seeds differ in nothing else
        like = json.dumps([point.model, point.varied])
        if like not in first_seed:
            first_seed[like] = _parsed(point, launch)
        configs[point.name] = {**first_seed[like], "seed_everything": point.seed}
    return configs


def _parsed(point: Point, launch: Launch) -> Config:
    output = io.StringIO()
    try:
        with redirect_stdout(output):
            launch([*point.arguments, "--print_config"])
    except SystemExit:  # the way in which a parser ends when it has printed the config
        pass
    except USER_ERRORS as error:
        raise ValueError(f"{point.name}: {one_line(error)}") from None
    config: Config = load_text(output.getvalue())
    return config


def config_of_run(folder: Path) -> Config | None:
    """The config that a run was made with; None if it has not got that far."""
    file = folder / "config.yaml"
    return load_yaml(file) if file.is_file() else None


def check_configs(study: Study, configs: Mapping[str, Config]) -> None:
    """The runs that there are must be those that the study asks for now.

    Args:
        study: what is asked for.
        configs: the full config of each point, by its name.

    Raises:
        ValueError: naming the first setting that differs.
    """
    for point in study.points:
        made = config_of_run(point.folder)
        for key, was, wanted in differences(made, configs[point.name]) if made is not None else ():
            raise ValueError(
                f"{point.folder} was made with {key}={was}, and {study.path} now asks for {wanted}: "
                f"remove that folder to run it again, or give the study another name"
            )


def check_agreement(study: Study, records: Mapping[str, Record], code: Mapping[str, str]) -> None:
    """Runs in one table must come from the same code, and those with the same data settings from the same data.

    Args:
        study: whose runs are compared.
        records: of each point, by its name.
        code: digests of the code that further runs would be made with, by package.

    Raises:
        ValueError: naming two runs that do not agree.
    """
    codes = {package: (digest, "the code as it is now") for package, digest in code.items()}
    data: dict[str, tuple[str, str]] = {}
    for point in study.points:
        record = records[point.name]
        commit = record.environment.get("commit")
        who = f"{point.name} (commit {commit})" if commit else point.name
        found = [("code", codes, package, digest) for package, digest in record.code.items()]
        if record.data is not None:
            found.append(("data", data, json.dumps(_data_settings(point), sort_keys=True), record.data))
        for what, first, key, digest in found:
            expected, other = first.setdefault(key, (digest, who))
            if digest != expected:
                raise ValueError(
                    f"{who} was made with other {what} than {other}: remove the old folders in {study.folder} and "
                    f"run the study again, or accept the mixture with --mixed"
                )


def check_measured(folder: Path, results: Mapping[str, Any]) -> None:
    """A later `skipvae test` of a run may have replaced its results by others that cannot stand in the same table.

    Raises:
        ValueError: if they were obtained with another number of samples, on other data, or on fewer of it than the
            config of the run says.
    """
    config = config_of_run(folder) or {}
    asked = {**config, **((config.get("model") or {}).get("init_args") or {}), **(config.get("trainer") or {})}
    for name in ("num_importance_samples", "limit_test_batches", "data"):
        for key, was, taken in differences({name: asked.get(name)}, {name: results.get(name)}):
            if None not in (was, taken) or name == "limit_test_batches":  # None of any other: not known
                raise ValueError(
                    f"{folder} was measured again, with {key}={taken} instead of {was}: run skipvae test --ckpt_path "
                    f"{folder}/checkpoints/best.ckpt, or accept it with --mixed"
                )


def _data_settings(point: Point) -> Any:
    data = (config_of_run(point.folder) or {}).get("data") or {}
    return {**data, "init_args": {k: v for k, v in (data.get("init_args") or {}).items() if f"data.{k}" not in WHERE}}
