"""Runs that do not belong together, or not to the study, are named in one clear line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from skipvae.cli import parse
from skipvae.persistence.settings import differences
from skipvae.study import consistency
from skipvae.study.plan import Study, read_study
from skipvae.study.status import RunStatus

WriteStudy = Callable[..., Path]


@pytest.fixture
def study(write_study: WriteStudy) -> Study:
    return read_study(write_study(seeds=[1, 2]))


def statuses_of(study: Study, **changed: RunStatus) -> dict[str, RunStatus]:
    good = RunStatus("finished", code={"skipvae": "a", "datamodules": "b"}, data="d", environment={"commit": "c0ffee"})
    return {run.name: changed.get(run.name.replace("-", "_"), good) for run in study.runs}


def test_configs_have_all_settings_and_the_seed(study: Study) -> None:
    configs = consistency.resolve(study, parse)
    decoder = configs["SKIP-VAE-seed2"]["model"]["init_args"]["decoder"]["init_args"]
    assert decoder["skip"] is True
    assert decoder["latent_dim"] == 3
    assert [configs[run.name]["seed_everything"] for run in study.runs] == [1, 2, 1, 2]
    assert configs["VAE-seed1"]["trainer"]["accelerator"] == "auto"


@pytest.mark.parametrize("key", ["model.decoder.depht", "trainer.epochs", "colour"])
def test_a_key_that_no_config_has(write_study: WriteStudy, key: str) -> None:
    study = read_study(write_study(models={"VAE": {key: 3}}))
    with pytest.raises(ValueError, match=r"^VAE-seed1: ") as error:
        consistency.resolve(study, parse)
    assert key.rpartition(".")[2] in str(error.value)
    assert "\n" not in str(error.value)


def test_runs_of_an_older_study_file(study: Study, write_study: WriteStudy) -> None:
    configs = consistency.resolve(study, parse)
    consistency.check_configs(study, configs)
    for run in study.runs:
        run.folder.mkdir(parents=True)
        text = yaml.safe_dump({**configs[run.name], "ckpt_path": "elsewhere"})
        (run.folder / "config.yaml").write_text(text, encoding="utf-8")
    consistency.check_configs(study, configs)
    changed = read_study(write_study(seeds=[1, 2], overrides={"model.decoder.hidden_dim": 8}))
    with pytest.raises(
        ValueError, match=r"VAE-seed1 was made with model\.decoder\.hidden_dim=16, .* asks for 8: remove"
    ):
        consistency.check_configs(changed, consistency.resolve(changed, parse))


def test_a_value_against_none_is_a_difference() -> None:
    assert list(differences({"a": None}, {"a": {"class_path": "X"}})) == [("a", None, "X")]


def test_runs_of_the_same_code_and_data_agree(study: Study) -> None:
    consistency.check_agreement(study, statuses_of(study), {"skipvae": "a"})
    consistency.check_agreement(study, statuses_of(study, VAE_seed2=RunStatus()), {})


@pytest.mark.parametrize(
    ("other", "code", "said"),
    [
        ({"code": {"skipvae": "z"}}, {}, r"SKIP-VAE-seed1 was made with other code than VAE-seed1 \(commit c0ffee\)"),
        ({"data": "z"}, {}, r"SKIP-VAE-seed1 was made with other data than VAE-seed1"),
        ({"code": {"other": "z"}}, {"skipvae": "z"}, r"VAE-seed1 .* other code than the code as it is now"),
    ],
)
def test_runs_of_other_code_or_data_are_named(study: Study, other: Any, code: Any, said: str) -> None:
    statuses = statuses_of(study, SKIP_VAE_seed1=RunStatus("finished", **other))
    with pytest.raises(ValueError, match=said) as error:
        consistency.check_agreement(study, statuses, code)
    assert "--allow_mixed" in str(error.value)


def test_other_data_settings_may_give_other_data(study: Study) -> None:
    for run in study.runs:
        run.folder.mkdir(parents=True)
        data = {"class_path": "X", "init_args": {"binarize": run.seed == 1, "data_dir": run.name}}
        (run.folder / "config.yaml").write_text(yaml.safe_dump({"data": data}), encoding="utf-8")
    statuses = {run.name: RunStatus("finished", data=f"digest of {run.seed}") for run in study.runs}
    consistency.check_agreement(study, statuses, {})
    with pytest.raises(ValueError, match="other data"):
        consistency.check_agreement(study, {name: RunStatus("finished", data=name) for name in statuses}, {})


def test_results_of_a_later_test_with_other_samples_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: {init_args: {num_importance_samples: 100}}\n")
    for results in ({}, {"num_importance_samples": 100}, {"num_importance_samples": None}):
        consistency.check_measured(tmp_path, results)
    with pytest.raises(ValueError, match=r"num_importance_samples=5 instead of 100: run skipvae test .*best\.ckpt"):
        consistency.check_measured(tmp_path, {"num_importance_samples": 5})


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ({"data": {"class_path": "Text", "init_args": {"test": "b.txt"}}}, "data.test=b.txt instead of a.txt"),
        ({"data": {"class_path": "Other", "init_args": {}}}, "data=Other instead of Text"),
        ({"limit_test_batches": 2}, "limit_test_batches=2 instead of None"),
    ],
)
def test_results_of_a_later_test_on_other_data_are_refused(tmp_path: Path, results: dict[str, Any], said: str) -> None:
    data: dict[str, Any] = {
        "class_path": "Text",
        "init_args": {"test": "a.txt", "data_dir": "data", "labels": ["a", "b"]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": data, "trainer": {"limit_test_batches": None}}))
    consistency.check_measured(
        tmp_path, {"data": {**data, "init_args": {**data["init_args"], "data_dir": "elsewhere"}}}
    )
    with pytest.raises(ValueError, match=said):
        consistency.check_measured(tmp_path, results)
