"""What a study file is read as, and what is said of one that is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from skipvae.study.plan import read_study
from skipvae.study.reporting.plots import metrics_by
from skipvae.study.reporting.table import tabulate
from tests.study.reporting.test_table import fabricated

WriteStudy = Callable[..., Path]


def test_runs_are_models_times_values_times_seeds(write_study: WriteStudy) -> None:
    study = read_study(write_study(vary={"K": {"model.decoder.latent_dim": [2, 10]}}, seeds=[1, 2, 3]))
    assert len(study.runs) == 2 * 2 * 3
    assert len({run.name for run in study.runs}) == len(study.runs)
    run = study.runs[-1]
    assert (run.name, run.model, run.varied, run.seed) == ("SKIP-VAE-K10-seed3", "SKIP-VAE", {"K": 10}, 3)
    assert run.settings == {"model.decoder.latent_dim": 10, "model.decoder.skip": True}
    assert run.folder == Path("lightning_logs/small/SKIP-VAE-K10-seed3")


def test_models_win_over_vary_and_vary_over_overrides(write_study: WriteStudy) -> None:
    study = read_study(
        write_study(
            overrides={"a": 0, "b": 0, "c": 0},
            vary={"B": {"b": [1]}},
            models={"M": {"c": 2}},
        )
    )
    assert study.runs[0].settings == {"a": 0, "b": 1, "c": 2}


def test_a_model_that_fixes_a_varied_setting_runs_once(write_study: WriteStudy) -> None:
    study = read_study(
        write_study(
            models={"VAE": {}, "LANGUAGE MODEL": {"model.decoder.latent_dim": 0}},
            vary={"K": {"model.decoder.latent_dim": [2, 10]}},
        )
    )
    assert [run.name for run in study.runs] == ["VAE-K2-seed1", "VAE-K10-seed1", "LANGUAGE-MODEL-seed1"]
    assert study.runs[-1].varied == {}


def test_settings_can_vary_together_and_values_can_have_names(write_study: WriteStudy) -> None:
    study = read_study(
        write_study(
            models={"VAE": {}},
            vary={
                "depth": {"model.encoder.num_layers": [1, 2], "model.decoder.num_layers": [3, 4]},
                "data": {
                    "grey": {"data.binarize": "none"},
                    "binary": {"data.binarize": "static", "trainer.max_epochs": 1},
                },
            },
        )
    )
    assert [tuple(run.varied.values()) for run in study.runs] == [
        (1, "grey"),
        (1, "binary"),
        (2, "grey"),
        (2, "binary"),
    ]
    assert study.runs[1].settings == {
        "model.encoder.num_layers": 1,
        "model.decoder.num_layers": 3,
        "data.binarize": "static",
        "trainer.max_epochs": 1,
    }


def test_a_model_can_have_its_own_base(write_study: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("{}", encoding="utf-8")
    study = read_study(write_study(models={"A": {}, "B": {"base": ["base.yaml", "other.yaml"]}}))
    assert [run.bases for run in study.runs] == [
        (tmp_path / "base.yaml",),
        (tmp_path / "base.yaml", tmp_path / "other.yaml"),
    ]


def test_arguments_keep_the_type_of_a_value(write_study: WriteStudy) -> None:
    settings = {"a": True, "b": None, "c": [1, 2], "d": "text", "e": {"class_path": "X"}}
    arguments = read_study(write_study(models={"M": settings})).runs[0].arguments
    for argument in (
        "--a=true",
        "--b=null",
        "--c=[1, 2]",
        "--d=text",
        '--e={"class_path": "X"}',
        "--seed_everything=1",
    ):
        assert argument in arguments
    assert "--version=M-seed1" in arguments


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"modles": {}}, "there is no field modles: choose from about, base"),
        ({"models": {}}, "name at least one model"),
        ({"vary": {"K": {}}}, "name the settings that are varied"),
        ({"models": {"A B": {}, "A-B": {}}}, "two runs would be called A-B-seed1"),
        ({"seeds": [1, 1]}, "two runs would be called VAE-seed1"),
        ({"vary": {"K": {"k": [2, 2]}}}, "two runs would be called VAE-K2-seed1"),
        ({"seeds": 3}, "seeds must be a list of integers such as [1], not 3"),
        ({"vary": {"K": {"k": 2}}}, "give each setting a list of values"),
        ({"vary": {"K": {"k": [1, 2], "l": [1]}}}, "all equally long"),
        ({"models": ["VAE"]}, "models: expected a mapping"),
        ({"models": {"VAE": 3}}, "models: VAE: expected a mapping"),
        ({"base": []}, "name the config that the runs start from under base:"),
        ({"name": 3}, "name must be text"),
        ({"overrides": {"seed_everything": 3}}, "seed_everything is set by the study for each run: leave it out, and"),
        ({"vary": {"K": {"version": [1, 2]}}}, "version is set by the study for each run: leave it out"),
        ({"models": {"A": {"trainer.default_root_dir": "x"}}}, "leave it out; runs go to lightning_logs"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(write_study: WriteStudy, fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=r"study\.yaml: ") as error:
        read_study(write_study(**fields))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_that_stands_twice(write_study: WriteStudy) -> None:
    file = write_study()
    file.write_text("base: base.yaml\nmodels:\n  VAE: {}\n  VAE: {a: 1}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="VAE stands twice in the same mapping"):
        read_study(file)


def test_files_that_are_missing_or_no_yaml(write_study: WriteStudy, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no study file none\.yaml"):
        read_study("none.yaml")
    with pytest.raises(FileNotFoundError, match=r"there is no base config .*none\.yaml"):
        read_study(write_study(base="none.yaml"))
    file = write_study()
    file.write_text("models: {VAE: [", encoding="utf-8")
    with pytest.raises(ValueError, match="is not YAML") as error:
        read_study(file)
    assert "\n" not in str(error.value)
    file.write_bytes(b"\xff\xfe\x00\x9f")
    with pytest.raises(ValueError, match="is not a text file"):
        read_study(file)


def test_a_base_with_a_root_of_its_own_is_refused(write_study: WriteStudy) -> None:
    file = write_study(base="base.yaml")
    base = file.with_name("base.yaml")
    base.write_text(base.read_text(encoding="utf-8").replace("trainer:", "trainer:\n  default_root_dir: elsewhere"))
    with pytest.raises(ValueError, match=r"base\.yaml sets trainer\.default_root_dir, but the runs of a study go to"):
        read_study(file)


def test_names_are_text_and_numbers_are_numbers(write_study: WriteStudy) -> None:
    file = write_study()
    file.write_text(
        "base: base.yaml\nmodels: {off: {}, no: {a: 1}, on: {a: 2}, 010: {a: 3}}\n"
        "vary:\n  rate: {r: [1e-2, 1e-3, 5e-3], s: [1, 2, 3]}\n  prior: {no: {p: 1}, off: {p: 2}}\n"
        "  K: {10: {k: 10}, 2: {k: 2}}\n",
        encoding="utf-8",
    )
    study = read_study(file)
    assert study.models == ("off", "no", "on", "010")
    rate, prior, size = study.quantities
    assert rate.values == (
        (0.001, {"r": 0.001, "s": 2}),
        (0.005, {"r": 0.005, "s": 3}),
        (0.01, {"r": 0.01, "s": 1}),
    ), "sorted, for it is an axis"
    assert [label for label, _ in prior.values] == ["no", "off"], "as in the file"
    assert [label for label, _ in size.values] == [2, 10]
    assert "--r=0.001" in study.runs[0].arguments


def test_the_axis_of_decades_is_logarithmic(write_study: WriteStudy) -> None:
    for values, scale in (([1e-2, 1e-3], "log"), ([6, 3], "linear"), ([0, 100], "linear"), (["a", "b"], "linear")):
        study = read_study(write_study(vary={"q": {"k": values}}))
        results = fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1))
        axis = metrics_by("q", study, tabulate(study, results)).axes[0]
        assert axis.get_xscale() == scale
        drawn = axis.containers[0].lines[0].get_xdata()  # type: ignore[attr-defined]
        assert list(drawn) == sorted(drawn)
