"""The status of a run in its folder, also after a sudden end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skipvae.study.status import RunStatus, is_running, log_of, output_to_log
from tests.study.conftest import environment

AT_WORK = """
import sys, time
from pathlib import Path
from skipvae.study.status import RunStatus, output_to_log
folder = Path(sys.argv[1])
with output_to_log(folder):
    RunStatus(state="training", step=5).write(folder)
    time.sleep(60)
"""


def test_a_status_comes_back(tmp_path: Path) -> None:
    assert RunStatus.read(tmp_path) == RunStatus()
    status = RunStatus("failed", True, 3, 9, -1.5, 2.0, "no", {"skipvae": "a"}, "d", {"torch": "2"})
    status.write(tmp_path)
    assert RunStatus.read(tmp_path) == status
    assert status.queued().state == "waiting"


def test_the_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(
        """{"state": "finished", "trained": true, "step": 8, "num_steps": 8, "elbo": -190.5, "seconds": 1.5,
        "error": null, "code": {"datamodules": "0a1b2c3d4e5f", "skipvae": "5f4e3d2c1b0a"}, "data": "00aa11bb22cc",
        "environment": {"skipvae": "0.1.0", "commit": "b886da0", "torch": "2.9.0"}}""",
        encoding="utf-8",
    )
    status = RunStatus.read(tmp_path)
    assert (status.state, status.trained, status.step, status.elbo) == ("finished", True, 8, -190.5)
    assert status.code["skipvae"] == "5f4e3d2c1b0a"
    assert status.environment["commit"] == "b886da0"


def test_a_damaged_status_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"state": "trai', encoding="utf-8")
    with pytest.raises(ValueError, match="is damaged: remove"):
        RunStatus.read(tmp_path)


def test_a_killed_run_counts_as_interrupted_and_a_running_one_does_not(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", AT_WORK, str(tmp_path)], env=environment())
    try:
        while RunStatus.read(tmp_path).step != 5:
            assert process.poll() is None
            time.sleep(0.05)
        assert is_running(tmp_path)
        assert RunStatus.read(tmp_path).state == "training"
        with pytest.raises(BlockingIOError), output_to_log(tmp_path):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not is_running(tmp_path)
    assert RunStatus.read(tmp_path).state == "interrupted"


def test_everything_printed_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with output_to_log(tmp_path):
        print("from Python")
        print("as an error", file=sys.stderr)
        os.write(1, b"from C\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    print("after")
    log = log_of(tmp_path).read_text(encoding="utf-8")
    for line in ("from Python", "as an error", "from C", "from a child"):
        assert line in log
    assert capfd.readouterr().out.split() == ["before", "after"]


def test_logs_are_appended(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with output_to_log(tmp_path):
            print(text)
    assert log_of(tmp_path).read_text(encoding="utf-8").split() == ["first", "second"]
