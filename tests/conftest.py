"""Settings that every test shares."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # the tests are small: threads would only wait for each other
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


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
