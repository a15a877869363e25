"""A run that was stopped, killed or interrupted goes on exactly as if nothing had happened."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer

from skipvae.cli import main
from skipvae.training.signals import StopRequests
from tests.command_line import QUIET, RUN, STEPS_PER_EPOCH, contents, fit, plain, resume
from tests.same_run import assert_same_run, load

pytestmark = pytest.mark.slow

LAST = RUN / "checkpoints" / "last.ckpt"
BEST = RUN / "checkpoints" / "best.ckpt"


def val_metrics(cli: Any) -> dict[str, float]:
    return {name: float(value) for name, value in cli.trainer.callback_metrics.items() if name.startswith("val/")}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """Three epochs at one go: the last checkpoint, and the metrics."""
    folder = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        metrics = val_metrics(fit(epochs=3))
    return folder / LAST, metrics


def test_one_epoch_and_two_more_are_three(workspace: Path, straight: tuple[Path, dict[str, float]]) -> None:
    fit(epochs=1)
    resumed = resume(epochs=3)
    assert_same_run(LAST, straight[0])
    assert val_metrics(resumed) == straight[1]
    assert os.listdir("lightning_logs/tiny") == ["version_0"]


@pytest.mark.parametrize("stop", [STEPS_PER_EPOCH + 1, 2 * STEPS_PER_EPOCH])
def test_a_run_that_was_stopped_within_an_epoch_goes_on_exactly(
    workspace: Path, straight: tuple[Path, dict[str, float]], stop: Any
) -> None:
    fit(f"--trainer.max_steps={stop}", epochs=3)
    assert load(LAST)["global_step"] == stop
    resumed = resume("--trainer.max_steps=-1", epochs=3)
    assert_same_run(LAST, straight[0])
    assert val_metrics(resumed) == straight[1]


class StopAt(pl.Callback):
    """Something happens after a number of steps."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            self.action()


def interrupt(kind: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), kind)


class KilledError(Exception):
    """The machine went down."""


@pytest.mark.parametrize(("every", "killed", "saved"), [(2, 7, 6), (3, 10, 9)])
def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint_within_an_epoch(
    workspace: Path, straight: tuple[Path, dict[str, float]], every: int, killed: int, saved: int
) -> None:
    def kill() -> None:
        raise KilledError

    with pytest.raises(KilledError):
        fit(f"--checkpoints.every_n_train_steps={every}", epochs=3, callbacks=[StopAt(killed, kill)])
    assert load(LAST)["global_step"] == saved
    resumed = resume("--checkpoints.every_n_train_steps=0", epochs=3)
    assert_same_run(LAST, straight[0])
    assert val_metrics(resumed) == straight[1]


@pytest.fixture
def handlers() -> Iterator[Any]:
    """Those of both signals, for comparison; whatever a test leaves of them is undone."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(kind) for kind in kinds]
    yield lambda: [signal.getsignal(kind) for kind in kinds] == before
    for kind, handler in zip(kinds, before, strict=True):
        signal.signal(kind, handler)


@pytest.mark.parametrize(
    ("step", "kind", "status"),
    [(6, signal.SIGINT, 1), (2 * STEPS_PER_EPOCH, signal.SIGTERM, 143)],
)
def test_ctrl_c_and_sigterm_save_say_how_to_continue_and_lose_nothing(
    workspace: Path,
    straight: tuple[Path, dict[str, float]],
    capsys: pytest.CaptureFixture[str],
    handlers: Any,
    step: Any,
    kind: Any,
    status: int,
) -> None:
    with pytest.raises(SystemExit) as exit_:
        fit(epochs=3, callbacks=[StopAt(step, lambda: interrupt(kind))])
    assert exit_.value.code == status
    assert handlers()
    assert f"To continue from step {step}: skipvae fit --ckpt_path {LAST}\n" in capsys.readouterr().out
    assert load(LAST)["global_step"] == step
    resumed = resume(epochs=3)
    assert_same_run(LAST, straight[0])
    assert val_metrics(resumed) == straight[1]


@pytest.mark.parametrize(("kind", "status"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
def test_the_same_signal_again_stops_at_once(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, handlers: Any, kind: Any, status: int
) -> None:
    monkeypatch.setattr(StopRequests, "TOGETHER", 0.0)

    def twice() -> None:
        interrupt(kind)
        interrupt(kind)
        raise AssertionError("should have stopped")

    with pytest.raises(SystemExit) as exit_:
        fit(epochs=3, callbacks=[StopAt(2, twice)])
    assert exit_.value.code == status
    assert not LAST.exists()


def test_a_sigterm_that_a_study_passes_on_to_a_group_that_has_it_already_counts_once(
    workspace: Path, handlers: Any
) -> None:
    def twice() -> None:
        interrupt(signal.SIGTERM)
        interrupt(signal.SIGTERM)

    with pytest.raises(SystemExit):
        fit(epochs=3, callbacks=[StopAt(2, twice)])
    assert load(LAST)["global_step"] == 2


def test_a_failed_run_names_the_step_of_its_file(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("the disk is on fire")

    with pytest.raises(ValueError, match="fire"):
        fit(epochs=3, callbacks=[StopAt(6, fail)])
    assert f"To continue from step {STEPS_PER_EPOCH}: skipvae fit" in capsys.readouterr().out


class TimeIsUp(Timer):
    """Like `max_time`, after a number of steps."""

    def __init__(self, step: int) -> None:
        super().__init__(duration={"days": 1})
        self.step = step

    def _check_time_remaining(self, trainer: pl.Trainer) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.step


def test_a_run_whose_time_is_up_finishes_its_epoch_when_it_is_resumed(
    workspace: Path, straight: tuple[Path, dict[str, float]]
) -> None:
    ended = fit(epochs=3, callbacks=[TimeIsUp(2)])
    assert load(LAST)["global_step"] == 2
    assert "val/elbo" in ended.trainer.callback_metrics  # best.ckpt is there even if the first epoch was not finished
    assert plain(["test", "--ckpt_path=best", *QUIET]).model.results
    resumed = resume(epochs=3)
    assert_same_run(LAST, straight[0])
    assert val_metrics(resumed) == straight[1]


@pytest.mark.parametrize(
    ("patience", "every", "end"),
    [(0, 1.0, 2 * STEPS_PER_EPOCH), (2, 0.5, 6)],  # the last one within an epoch
)
def test_a_run_that_stopped_early_has_ended(workspace: Path, patience: int, every: float, end: Any) -> None:
    early = ("EarlyStopping", "monitor=val/elbo", "mode=max", f"patience={patience}")
    options = [f"--trainer.callbacks{'.' if '=' in option else '='}{option}" for option in early]
    options += ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0"]
    fit(*options, f"--trainer.val_check_interval={every}", epochs=9)
    assert load(LAST)["global_step"] == end
    before = contents(RUN / "checkpoints")
    resume(epochs=9)
    assert contents(RUN / "checkpoints") == before


def test_time_is_not_up_in_the_midst_of_a_step(workspace: Path) -> None:
    by_twos = "--trainer.accumulate_grad_batches=2"
    fit(by_twos, epochs=3)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(TimeIsUp, "_check_time_remaining", stop_at_once)
        fit(by_twos, epochs=3, callbacks=[TimeIsUp(1)])
    last = Path("lightning_logs/tiny/version_1/checkpoints/last.ckpt")
    assert load(last)["global_step"] == 1
    resume(epochs=3)
    assert_same_run(LAST, last)


def stop_at_once(timer: Timer, trainer: pl.Trainer) -> None:
    trainer.should_stop = trainer.training and trainer.fit_loop.batch_idx == 0


def test_a_run_shorter_than_an_epoch_is_validated_and_can_be_resumed_from_its_best(
    workspace: Path, straight: tuple[Path, dict[str, float]]
) -> None:
    fit(f"--trainer.max_steps={STEPS_PER_EPOCH - 1}", epochs=3)
    assert load(BEST)["global_step"] == STEPS_PER_EPOCH - 1
    plain(["fit", "--ckpt_path=best", *QUIET, "--trainer.max_epochs=3", "--trainer.max_steps=-1"])
    assert_same_run(LAST, straight[0])


def test_last_is_the_last_epoch_even_if_it_was_not_the_best(workspace: Path) -> None:
    cli = fit("--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0", epochs=3)  # so nothing gets better
    assert load(BEST)["global_step"] == STEPS_PER_EPOCH
    assert load(LAST)["global_step"] == 3 * STEPS_PER_EPOCH
    assert cli.trainer.checkpoint_callback.last_model_path == str(LAST)


def test_resuming_a_finished_run_changes_nothing(workspace: Path) -> None:
    fit(epochs=2)
    before = contents(RUN / "checkpoints")
    resume(epochs=2)
    assert contents(RUN / "checkpoints") == before


def test_a_run_that_cannot_be_resumed_as_asked_stays_as_it_was(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(epochs=3)
    before = {path: (RUN / path).read_bytes() for path in ("config.yaml", "checkpoints/last.ckpt")}
    for options, epochs, message in (
        (["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1"], 4, "--model.optimizer"),
        (["--model.optimizer.lr=0.1"], 4, "--model.optimizer"),
        ([], 1, "max_epochs=1"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(["fit", "--ckpt_path=last", *QUIET, f"--trainer.max_epochs={epochs}", *options])
        printed = capsys.readouterr()
        assert exit_.value.code == 2
        assert message in printed.err
        assert "To continue" not in printed.out
        assert {path: (RUN / path).read_bytes() for path in before} == before
    resume(epochs=4)


def test_resuming_remembers_what_is_best(workspace: Path) -> None:
    fit(epochs=1)
    best, content = BEST.read_bytes(), load(LAST)
    scores = next(state["best_k_models"] for name, state in content["callbacks"].items() if "BestAndLast" in name)
    scores[next(iter(scores))] = torch.tensor(0.0)  # as if the run had once been perfect
    torch.save(content, LAST)
    resume(epochs=2)
    assert BEST.read_bytes() == best
    assert load(LAST)["global_step"] == 2 * STEPS_PER_EPOCH


def test_a_run_goes_on_where_its_folder_was_moved_to(workspace: Path, straight: tuple[Path, dict[str, float]]) -> None:
    fit(epochs=1)
    os.rename("lightning_logs", "elsewhere")
    plain(["fit", "--ckpt_path=elsewhere/tiny/version_0/checkpoints/last.ckpt", *QUIET, "--trainer.max_epochs=3"])
    assert_same_run(Path("elsewhere/tiny/version_0/checkpoints/last.ckpt"), straight[0])
    assert not Path("lightning_logs").exists()
