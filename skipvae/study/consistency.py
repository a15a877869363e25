"""Checks that the runs in the folders are those that the study asks for, and are comparable in one table."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skipvae.errors import USER_ERRORS, one_line
from skipvae.persistence.settings import WHERE, differences
from skipvae.persistence.strict_yaml import load_yaml
from skipvae.study.plan import Run, Study
from skipvae.study.status import RunStatus

Config = dict[str, Any]
Parse = Callable[[list[str]], Config]


def resolve(study: Study, parse: Parse) -> dict[str, Config]:
    """The full config of each run by its name, all defaults included, as the command line understands it.

    Args:
        study: what is asked for.
        parse: the config that a command line asks for.

    Raises:
        ValueError: if the command line does not accept a setting.
    """
    configs: dict[str, Config] = {}
    first_seed: dict[str, Config] = {}
    for run in study.runs:  # parsing takes half a second, and seeds differ in nothing else
        like = json.dumps([list(map(str, run.bases)), run.settings])
        if like not in first_seed:
            try:
                first_seed[like] = parse(run.arguments)
            except USER_ERRORS as error:
                raise ValueError(f"{run.name}: {one_line(error)}") from None
        configs[run.name] = {**first_seed[like], "seed_everything": run.seed}
    return configs


def config_of_run(folder: Path) -> Config | None:
    """The config that a run was made with; None before training starts."""
    file = folder / "config.yaml"
    return load_yaml(file) if file.is_file() else None


def check_configs(study: Study, configs: Mapping[str, Config]) -> None:
    """Refuses existing runs whose settings are not those that the study asks for now.

    Args:
        study: the study.
        configs: the full config of each run, by its name.

    Raises:
        ValueError: naming the first setting that differs.
    """
    for run in study.runs:
        made = config_of_run(run.folder)
        for key, was, wanted in differences(made, configs[run.name]) if made is not None else ():
            raise ValueError(
                f"{run.folder} was made with {key}={was}, and {study.path} now asks for {wanted}: "
                f"remove that folder to run it again, or give the study another name"
            )


def check_agreement(study: Study, statuses: Mapping[str, RunStatus], code: Mapping[str, str]) -> None:
    """Refuses runs from different code, and runs with the same data settings but different data.

    Args:
        study: whose runs are compared.
        statuses: the status of each run, by its name.
        code: digests of the code that further runs would be made with, by package.

    Raises:
        ValueError: naming two runs that do not agree.
    """
    codes = {package: (digest, "the code as it is now") for package, digest in code.items()}
    data: dict[str, tuple[str, str]] = {}
    for run in study.runs:
        status = statuses[run.name]
        commit = status.environment.get("commit")
        who = f"{run.name} (commit {commit})" if commit else run.name
        found = [("code", codes, package, digest) for package, digest in status.code.items()]
        if status.data is not None:
            found.append(("data", data, json.dumps(_data_settings(run), sort_keys=True), status.data))
        for what, first, key, digest in found:
            expected, other = first.setdefault(key, (digest, who))
            if digest != expected:
                raise ValueError(
                    f"{who} was made with other {what} than {other}: remove the old folders in {study.folder} and "
                    f"run the study again, or accept them with --allow_mixed"
                )


def check_measured(folder: Path, results: Mapping[str, Any]) -> None:
    """Refuses results of a run that a later `skipvae test` has replaced by ones that are not comparable.

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
                    f"{folder}/checkpoints/best.ckpt, or accept it with --allow_mixed"
                )


def _data_settings(run: Run) -> Any:
    data = (config_of_run(run.folder) or {}).get("data") or {}
    return {**data, "init_args": {k: v for k, v in (data.get("init_args") or {}).items() if f"data.{k}" not in WHERE}}
