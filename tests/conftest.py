"""Settings that every test shares."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import command_line

torch.set_num_threads(1)  # the tests are small: threads would only wait for each other
SLOW = [Path(__file__).parent / folder for folder in ("end_to_end", "faults")]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what runs whole commands or many processes as slow."""
    for item in items:
        if any(folder in item.path.parents for folder in SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def shared_data() -> Path:
    """Real data that lies beside the project in some places; tests that want it are skipped elsewhere."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder ../shared/data beside the project")
    return SHARED


@pytest.fixture(autouse=True)
def _fresh_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test inherits the seed that another one set for the noise of its runs."""
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in; classes defined in its modules can be named in configs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run of two epochs; only to be read."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        command_line.run(["fit", *command_line.TINY, "--trainer.max_epochs=2"])
    return folder / command_line.RUN


@pytest.fixture
def tiny_run(trained: Path, workspace: Path) -> Path:
    """A copy of the tiny run in the working folder."""
    return Path(shutil.copytree(trained, command_line.RUN))


@pytest.fixture(scope="session")
def other_process() -> Iterator[command_line.OtherProcess]:
    """A process in which nothing has happened yet."""
    process = command_line.OtherProcess()
    yield process
    process.stop()
