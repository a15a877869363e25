"""Every study that comes with the project can be laid out, and its runs get the settings that it gives them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from skipvae.cli import parse
from skipvae.study import consistency
from skipvae.study.plan import Run, Study, read_study
from skipvae.study.search_studies import with_examples
from tests.command_line import ROOT

STUDIES = [path for path in sorted(ROOT.glob("configs/**/*.yaml")) if "models" in yaml.safe_load(path.read_text())]


def setting(config: dict[str, Any], key: str) -> Any:
    """The value of a key of the command line, such as model.decoder.skip, in a full config."""
    node: Any = config
    for name in key.split("."):
        node = node.get("init_args", node)[name]
    return node["class_path"] if isinstance(node, dict) else node


def few_runs(study: Study) -> tuple[Run, ...]:
    """Enough runs for every base config, every setting, and every value that is a word: parsing takes a second."""
    seen: set[str] = set()
    runs = []
    for run in study.runs:
        words = {f"{key}={value}" for key, value in run.settings.items() if isinstance(value, str)}
        asked = {str(run.bases), *run.settings, *words}
        if not asked <= seen:
            runs.append(run)
        seen |= asked
    return tuple(runs)


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_the_command_line_accepts_every_setting_of_a_study(file: Path) -> None:
    study = read_study(file)
    assert study.about
    study = with_examples(study) if study.search is not None else study
    study = replace(study, runs=few_runs(study))
    configs = consistency.resolve(study, parse)
    for run in study.runs:
        for key, value in run.settings.items():
            assert setting(configs[run.name], key) == value, f"{run.name}: {key}"
