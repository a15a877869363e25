"""The section of a study on a page of results, and its findings."""

from collections.abc import Callable
from pathlib import Path

import pytest

from skipvae.study.plan import Study, read_study
from skipvae.study.reporting.findings import findings, pairs
from skipvae.study.reporting.page import put_on_page, section
from skipvae.study.reporting.table import tabulate
from skipvae.study.status import RunStatus
from tests.study.reporting.test_table import fabricated

WriteStudy = Callable[..., Path]
SA = {"model.inference": "skipvae.inference.SemiAmortized"}


@pytest.fixture
def study(write_study: WriteStudy) -> Study:
    vary = {"K": {"model.decoder.latent_dim": [2, 10]}}
    return read_study(write_study(vary=vary, seeds=[1, 2, 3, 4], remarks="Smaller than in the paper."))


def test_findings_are_the_marks_of_welchs_test(study: Study) -> None:
    results = fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1))
    (sentence,) = findings(study, tabulate(study, results))
    assert sentence == "**SKIP-VAE against VAE**: ELBO higher; MI, AU without significant difference; NLL lower."
    for run in study.runs:
        if run.varied == {"K": 2}:
            results[run.name]["elbo"] = -100.0
    (sentence,) = findings(study, tabulate(study, results))
    assert "ELBO higher at K = 10, without significant difference at K = 2;" in sentence


def test_nothing_differs_by_one_seed(write_study: WriteStudy) -> None:
    study = read_study(write_study(seeds=[1]))
    (sentence,) = findings(study, tabulate(study, fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1))))
    assert "no difference can be called significant" in sentence


def test_pairs_differ_by_their_skips_alone(write_study: WriteStudy) -> None:
    skip = {"model.decoder.skip": True}
    models = {"SKIP-SA-VAE": SA | skip, "VAE": {}, "SA-VAE": SA, "SKIP-VAE": skip, "WIDE": {"a": 1} | skip}
    for search in ({}, {"search": {"space": {"a": [1, 2]}, "trials": 2}}):  # whatever a search chooses
        assert pairs(read_study(write_study(models=models, **search))) == [
            ("SA-VAE", "SKIP-SA-VAE"),
            ("VAE", "SKIP-VAE"),
        ]


def test_a_section_says_how_it_was_made(study: Study) -> None:
    results = fabricated(study, VAE=(-100, 1), SKIP_VAE=(-90, 1))
    environment = {"hardware": "an abacus", "skipvae": "0.1.0", "commit": "abc123", "torch": "2.14"}
    statuses = {name: RunStatus(seconds=450.0, environment=environment) for name in results}
    text = section(study, tabulate(study, results), results, statuses, ["A finding."], ["images/small/by_K"], "said")
    assert text.startswith("## small")
    for part in ("skipvae study run", "16 of 16, seeds 1, 2, 3, 4", "500", "an abacus; 2.00 hours", "commit abc123"):
        assert part in text
    assert "Smaller than in the paper." in text
    assert "![by_K](images/small/by_K.png)" in text
    assert "A finding." in text
    assert text.endswith("said")


def test_a_page_keeps_what_is_not_of_the_study(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Results\n\nBy hand.\n", encoding="utf-8")
    put_on_page(page, "a", r"first \1")
    put_on_page(page, "b", "second")
    put_on_page(page, "a", "third")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Results\n\nBy hand.\n")
    assert "first" not in text
    assert text.index("third") < text.index("second")
    put_on_page(page, "b", "second")
    assert page.read_text(encoding="utf-8") == text
