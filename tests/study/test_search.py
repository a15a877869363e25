"""Searches: which trials are made, and what becomes of them when runs fail, or processes are killed or share them."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from skipvae.cli import parse
from skipvae.cli import run as launch
from skipvae.study import main
from skipvae.study.plan import Run, Study, read_study
from skipvae.study.reporting.search_report import search_report
from skipvae.study.search import Trial, Trials
from skipvae.study.search_studies import with_best
from skipvae.study.status import RunStatus, output_to_log
from tests.study.conftest import command, environment

WriteStudy = Callable[..., Path]
LOGS = Path("lightning_logs/small")
RATE = {"model.optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
DEPTH = {"model.decoder.num_layers": {"low": 1, "high": 50}}
SKIP = {"model.decoder.skip": [True, False]}
SEARCH = {"space": {**RATE, **DEPTH, **SKIP}, "trials": 12}
FEW = {"space": DEPTH, "trials": 3}


@pytest.fixture(autouse=True)
def optuna() -> Any:
    return pytest.importorskip("optuna")


def pretend(runs: Sequence[Run], deepest: int = 50) -> None:
    """The outcome of runs without any training: more layers are better until training fails; seed 2 is worse by 1."""
    for run in runs:
        depth = run.settings.get("model.decoder.num_layers", 1)
        status = RunStatus("finished", validation={"val/elbo": float(depth) - (run.seed == 2)})
        if depth > deepest:
            status = RunStatus("failed", error="the loss is not finite")
        status.write(run.folder)


def searched(study: Study, at_once: int = 1, deepest: int = 50) -> list[Trial]:
    """The trials of a whole search; each wave is executed by a process that knows nothing of the others."""
    while runs := next(Trials(study).waves(at_once), None):
        assert all(RunStatus.read(run.folder).state == "waiting" for run in runs)
        pretend(runs, deepest)
    return Trials(study).read()


def choices(trials: Sequence[Trial]) -> list[tuple[str, Any]]:
    return [(trial.row.name, trial.settings) for trial in trials]


def test_each_model_gets_the_same_number_of_trials_whose_values_are_means_over_seeds(write_study: WriteStudy) -> None:
    study = read_study(write_study(search=SEARCH, seeds=[1, 2]))
    assert Trials(study).read() == []
    trials = searched(study)
    assert [(trial.row.name, trial.index) for trial in trials] == [
        *(("VAE", index) for index in range(12)),
        *(("SKIP-VAE", index) for index in range(12)),
    ]
    for trial in trials:
        assert trial.state == "finished"
        assert trial.value == trial.settings["model.decoder.num_layers"] - 0.5
        assert 1e-4 <= trial.settings["model.optimizer.lr"] <= 1e-2
        assert ("model.decoder.skip" in trial.settings) == (trial.row.name == "VAE")
    of_last = trials[-1].runs
    assert [run.folder for run in of_last] == [LOGS / f"SKIP-VAE-trial11-seed{seed}" for seed in (1, 2)]
    assert of_last[0].settings == {"model.decoder.skip": True, **trials[-1].settings}

    best = with_best(study)
    assert with_best(best).runs == best.runs
    deepest = [max(trial.settings["model.decoder.num_layers"] for trial in part) for part in (trials[:12], trials[12:])]
    assert [run.settings["model.decoder.num_layers"] for run in best.runs[::2]] == deepest
    assert [run.model for run in best.runs] == ["VAE", "VAE", "SKIP-VAE", "SKIP-VAE"]

    for at_once in (1, 4):  # the same choices again, and by two rows of two runs at once as well
        again = read_study(write_study(name=f"again{at_once}", search=SEARCH, seeds=[1, 2]))
        assert choices(searched(again, at_once)) == choices(trials)
    more = read_study(write_study(search={**SEARCH, "trials": 13}, seeds=[1, 2]))
    with pytest.raises(ValueError, match=r"2 of 26 trials are missing: skipvae study run .* with --partial"):
        with_best(more)
    assert with_best(more, partial=True).runs == best.runs
    assert choices(searched(more))[:12] == choices(trials)[:12]
    other = read_study(write_study(search={**SEARCH, "space": {**RATE, **DEPTH}}, seeds=[1, 2]))
    with pytest.raises(
        ValueError, match=r"searches VAE for the best val/elbo of seeds 1, 2 by .* now asks for .* name"
    ):
        Trials(other).read()


def test_a_metric_of_which_less_is_better(write_study: WriteStudy) -> None:
    study = read_study(write_study(models={"VAE": {}}, search={**FEW, "metric": "val/nll"}))
    for runs in Trials(study).waves(1):
        for run in runs:
            value = float(run.settings["model.decoder.num_layers"])
            RunStatus("finished", validation={"val/nll": value}).write(run.folder)
    depths = [trial.settings["model.decoder.num_layers"] for trial in Trials(study).read()]
    assert with_best(study).runs[0].settings["model.decoder.num_layers"] == min(depths)


def test_a_metric_that_validations_do_not_have(write_study: WriteStudy) -> None:
    study = read_study(write_study(search={**FEW, "metric": "val/ppl"}))
    pretend(next(Trials(study).waves(1)))
    with pytest.raises(ValueError, match=r"search: the validation of VAE-trial0-seed1 has val/elbo, no val/ppl"):
        next(Trials(study).waves(1))


def test_a_failed_run_fails_its_trial_and_not_the_search(write_study: WriteStudy) -> None:
    study = read_study(write_study(models={"VAE": {}}, search=SEARCH, seeds=[1, 2]))
    trials = searched(study, deepest=25)
    assert {trial.state for trial in trials} == {"finished", "failed"}
    for trial in trials:
        assert (trial.state == "failed") == (trial.settings["model.decoder.num_layers"] > 25) == (trial.value is None)
    assert with_best(study).runs[0].settings["model.decoder.num_layers"] <= 25
    found = search_report(study)
    assert found.lines[-1][-1] == "failed: the loss is not finite"
    hopeless = read_study(write_study(name="hopeless", models={"VAE": {}}, search=FEW))
    searched(hopeless, deepest=0)
    with pytest.raises(
        ValueError, match=r"all trials of VAE failed, the first by: the loss is not finite; see .*VAE-trial0-seed1"
    ):
        with_best(hopeless)


def test_an_interrupted_trial_is_continued_by_whoever_comes_next(write_study: WriteStudy) -> None:
    study = read_study(write_study(models={"VAE": {}}, search=SEARCH, seeds=[1, 2]))
    undisturbed = read_study(write_study(name="undisturbed", models={"VAE": {}}, search=SEARCH, seeds=[1, 2]))
    first = next(Trials(study).waves(1))
    assert next(Trials(study).waves(1)) == first  # the first process was killed at once
    pretend(first[:1])
    assert next(Trials(study).waves(1)) == first[1:]
    with output_to_log(first[1].folder):  # another process executes it: there is time for a new trial
        assert [run.name for run in next(Trials(study).waves(1))] == ["VAE-trial1-seed1", "VAE-trial1-seed2"]
    assert [run.name for run in next(Trials(study).waves(1))] == [
        "VAE-trial0-seed2",
        "VAE-trial1-seed1",
        "VAE-trial1-seed2",
    ]
    trials = searched(study)
    assert len(trials) == 12
    assert choices(trials)[:10] == choices(searched(undisturbed))[:10]  # those at random: later ones learn from results


def test_a_kill_while_the_journal_is_written(write_study: WriteStudy, optuna: Any) -> None:
    study = read_study(write_study(models={"VAE": {}}, search=SEARCH))
    undisturbed = read_study(write_study(name="undisturbed", models={"VAE": {}}, search=SEARCH))
    pretend(next(Trials(study).waves(1)))
    journal = LOGS / "search.journal"
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    optuna.load_study(study_name="VAE", storage=optuna.storages.JournalStorage(backend)).ask()  # without its settings
    with journal.open("a") as file:
        file.write('{"op_code": 5, "tri')
    assert len(Trials(study).read()) == 1
    assert choices(searched(study)) == choices(searched(undisturbed))


def test_equal_settings_are_trained_once(write_study: WriteStudy) -> None:
    study = read_study(write_study(models={"VAE": {}}, search={"space": SKIP, "trials": 8}))
    trials = searched(study)
    assert [trial.state for trial in trials] == ["finished"] * 8
    assert len({trial.runs[0].name for trial in trials}) == len(list(LOGS.glob("VAE-*"))) == 2


def test_a_model_that_fixes_everything_has_a_single_trial(write_study: WriteStudy) -> None:
    study = read_study(write_study(search={"space": SKIP, "trials": 5}))
    assert [trial.row.name for trial in searched(study)] == ["VAE"] * 5 + ["SKIP-VAE"]


def test_the_report_lists_all_trials_the_best_first(write_study: WriteStudy) -> None:
    study = read_study(write_study(search=SEARCH, seeds=[1, 2]))
    searched(study)
    found = search_report(study)
    assert search_report(read_study(write_study())) is None
    header, *lines = found.lines
    space = ["model.optimizer.lr", "model.decoder.num_layers", "model.decoder.skip"]
    assert header == ["model", "trial", "val/elbo", *space, "state"]
    assert [line[0] for line in lines] == ["VAE"] * 12 + ["SKIP-VAE"] * 12
    values = [float(line[2]) for line in lines]
    assert values[:12] == sorted(values[:12], reverse=True)
    assert {line[5] for line in lines[12:]} == {"fixed"}
    rows = list(csv.DictReader(found.csv().splitlines()))
    assert json.loads(rows[0]["model.decoder.skip"]) in (True, False)
    assert 1e-4 <= float(rows[0]["model.optimizer.lr"]) <= 1e-2
    choice, *chosen = found.sentences()
    assert "best mean val/elbo of 2 seeds on the validation split, of 12 trials. The test split had no part" in choice
    assert [line.partition(":")[0] for line in chosen] == ["VAE", "SKIP-VAE"]
    rate, depth, skip = found.figure().axes
    assert rate.get_xscale() == "log"
    assert [axis.get_xlabel() for axis in (rate, depth, skip)] == space
    assert [label.get_text() for label in skip.get_xticklabels()] == ["true", "false"]
    assert sorted(len(points.get_offsets()) for points in depth.collections) == [1, 1, 12, 12]


def test_without_optuna(write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in ("run", "report"):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'skipvae\[search\]'"):
            main([name, str(write_study(search=FEW))], launch, parse)


def test_a_value_that_no_run_accepts_is_named_before_the_search(write_study: WriteStudy) -> None:
    file = write_study(search={"space": {"model.decoder.skip": [True, "maybe"]}, "trials": 3}, models={"VAE": {}})
    with pytest.raises(ValueError, match=r"^VAE-trial1-seed1: .*skip"):
        main(["run", str(file), "--dry_run"], launch, parse)
    assert not LOGS.exists()


TINY = {"space": {**RATE, "model.decoder.num_layers": {"low": 1, "high": 3}}, "trials": 3}


def start(file: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command("run", file, *options), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_killed_and_shared_by_two_processes_it_ends_as_if_nothing_had_happened(
    write_study: WriteStudy, capfd: pytest.CaptureFixture[str]
) -> None:
    fields: dict[str, Any] = {"models": {"VAE": {}}, "seeds": [1, 2], "search": TINY}
    file = write_study(name="undisturbed", **fields)
    main(["run", str(file), "--dry_run"], launch, parse)
    assert "VAE: 3 trials, each with 2 runs; searched settings: model.optimizer.lr (0.0001 to" in capfd.readouterr().out
    main(["run", str(file)], launch, parse)
    assert "trial's runs" in capfd.readouterr().out
    undisturbed = Path("lightning_logs/undisturbed/report")
    report = (undisturbed / "report.md").read_text(encoding="utf-8")
    assert "![search](search.png)" in report
    assert report.count("| finished |") == 3
    best = with_best(read_study(file)).runs
    tested = [json.loads((run.folder / "metrics.json").read_text())["elbo"] for run in best]
    with (undisturbed / "table.csv").open(encoding="utf-8") as table:
        (row,) = csv.DictReader(table)
    assert float(row["elbo_mean"]) == pytest.approx(sum(tested) / 2)

    file = write_study(**fields)
    process = start(file)
    while not (LOGS / "VAE-trial1-seed1" / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with pytest.raises(ValueError, match="2 of 3 trials are missing"):
        main(["report", str(file)], launch, parse)
    pair = [start(file), start(file, "--jobs", "2")]
    for process in pair:
        output, _ = process.communicate()
        assert process.returncode == 0, output
    trials = (LOGS / "report" / "trials.csv").read_text(encoding="utf-8")
    assert trials == (undisturbed / "trials.csv").read_text(encoding="utf-8")
    assert len(list(LOGS.glob("VAE-trial*"))) == 6
    for log in LOGS.glob("*/log.txt"):
        assert log.read_text(encoding="utf-8").count("validation: ") == 1, "every run ended once"
