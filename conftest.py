"""Settings of all tests, those in docstrings included."""

import os
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache_folder() -> Iterator[None]:
    """What is prepared once goes to a folder of these tests, not to the user's cache; so do that of their processes."""
    with tempfile.TemporaryDirectory(prefix="skipvae-tests-", ignore_cleanup_errors=True) as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        yield
