"""Every study that comes with the project can be laid out, and the command line accepts all of its settings."""

from pathlib import Path

import pytest

from skipvae.cli import parse
from skipvae.study import consistency
from skipvae.study.plan import read_study

ROOT = Path(__file__).absolute().parents[2]
STUDIES = sorted([*ROOT.glob("configs/studies/*.yaml"), ROOT / "configs/quickstart/images.yaml"])


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_study_is_accepted(file: Path) -> None:
    study = read_study(file)
    assert study.about
    configs = consistency.resolve(study, parse)
    latent_dims = {
        name: config["model"]["init_args"]["decoder"]["init_args"]["latent_dim"] for name, config in configs.items()
    }
    for run in study.runs:
        assert latent_dims[run.name] == run.varied.get("K", latent_dims[run.name])
