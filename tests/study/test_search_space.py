"""The field `search` of a study file, and the rows that it searches."""

from collections.abc import Callable
from pathlib import Path

import pytest

from skipvae.study.plan import read_study
from skipvae.study.search_space import Choices, Interval

WriteStudy = Callable[..., Path]
RATE = {"model.optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}


def test_each_model_and_varied_value_is_searched_by_what_it_does_not_fix(write_study: WriteStudy) -> None:
    space = {**RATE, "model.decoder.num_layers": {"low": 2, "high": 8}, "model.decoder.skip": [True, False]}
    study = read_study(
        write_study(
            models={"VAE": {}, "SKIP VAE": {"model.decoder.skip": True}},
            vary={"K": {"model.decoder.latent_dim": [2, 10]}},
            search={"space": space, "trials": 20},
            seeds=[1, 2],
        )
    )
    assert study.search is not None
    assert (study.search.trials, study.search.key) == (20, "val/elbo")
    assert study.runs == ()
    assert [row.name for row in study.rows] == ["VAE-K2", "VAE-K10", "SKIP-VAE-K2", "SKIP-VAE-K10"]
    assert [run.name for run in study.rows[0].runs] == ["VAE-K2-seed1", "VAE-K2-seed2"]
    assert study.rows[0].space == {
        "model.optimizer.lr": Interval(1e-4, 1e-2, log=True),
        "model.decoder.num_layers": Interval(2, 8),
        "model.decoder.skip": Choices((True, False)),
    }
    assert study.rows[2].space.keys() == {"model.optimizer.lr", "model.decoder.num_layers"}
    assert [domain.of_integers for domain in study.rows[2].space.values()] == [False, True]


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (3, "search: expected a mapping"),
        ({"trials": 3}, "search: name the settings to choose under space:"),
        ({"space": RATE, "trails": 3}, "search: there is no field trails: choose from metric, space, trials"),
        ({"space": RATE}, "search: trials must be the number of trials of each model, such as 20, not None"),
        ({"space": RATE, "trials": 0}, "trials must be the number of trials of each model, such as 20, not 0"),
        ({"space": RATE, "trials": 3, "metric": "test/elbo"}, "must not choose by test data: give val/elbo"),
        ({"space": RATE, "trials": 3, "metric": "elbo"}, "there is no metric elbo to search by: choose from val/elbo"),
        ({"space": RATE, "trials": 3, "metric": "val/kl"}, "there is no metric val/kl to search by"),
        ({"space": {"a": 3}, "trials": 3}, "space: a: give a list of values or {low: ..., high: ...}, not 3"),
        ({"space": {"a": [1, 1]}, "trials": 3}, "space: a: list different values"),
        ({"space": {"a": {"low": 1}}, "trials": 3}, "space: a: low and high must be numbers, low the smaller one"),
        ({"space": {"a": {"low": 2, "high": 1}}, "trials": 3}, "not 2 and 1"),
        ({"space": {"a": {"low": 0, "high": 1, "log": True}}, "trials": 3}, "and low above zero with it"),
        ({"space": {"a": {"low": 0, "high": 1, "lgo": True}}, "trials": 3}, "search: space: a: there is no field lgo"),
        ({"space": {"seed_everything": [1, 2]}, "trials": 3}, "seed_everything is set by the study"),
        ({"space": {"k": [1, 2]}, "trials": 3}, "k is both varied and searched"),
    ],
)
def test_mistakes_are_named_in_a_line(write_study: WriteStudy, search: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"study\.yaml: ") as error:
        read_study(write_study(search=search, vary={"K": {"k": [2, 10]}}))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
