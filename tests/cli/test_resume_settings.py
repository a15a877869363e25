"""What a command that resumes a run asks for is applied or refused; what starts from a run's weights is a new run."""

from pathlib import Path

import pytest
import torch
import yaml

from skipvae.persistence.settings import MAY_CHANGE, differences
from tests.command_line import QUIET, RUN, TINY, contents, error_of, fit, plain, resume

LAST = RUN / "checkpoints" / "last.ckpt"
SETTINGS = """
model:
  init_args:
    lr_scheduler: {class_path: torch.optim.lr_scheduler.CosineAnnealingLR, init_args: {T_max: 4}}
trainer:
  callbacks:
    - {class_path: EarlyStopping, init_args: {monitor: val/elbo, mode: max, patience: 2}}
    - {class_path: skipvae.callbacks.FixedKLWeight, init_args: {beta: 0.5}}
    - {class_path: LearningRateMonitor}
"""
CHANGES = {
    "T_max: 4": ("T_max: 8", "--model.lr_scheduler.T_max=4, not 8"),
    "CosineAnnealingLR, init_args: {T_max: 4}": (
        "ExponentialLR, init_args: {gamma: 0.9}",
        "--model.lr_scheduler=torch.optim.lr_scheduler.CosineAnnealingLR, not torch.optim.lr_scheduler.ExponentialLR",
    ),
    "patience: 2": ("patience: 50", "--trainer.callbacks.EarlyStopping.patience=2, not 50"),
    "beta: 0.5": ("beta: 1.0", "--trainer.callbacks.FixedKLWeight.beta=0.5, not 1.0"),
    "- {class_path: EarlyStopping, init_args: {monitor: val/elbo, mode: max, patience: 2}}": (
        "",
        "--trainer.callbacks.EarlyStopping=pytorch_lightning.callbacks.EarlyStopping, not nothing",
    ),
}


@pytest.fixture(scope="module")
def run_with_states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose checkpoint holds the state of a scheduler and of a callback; only to be read."""
    folder = tmp_path_factory.mktemp("states")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        Path("settings.yaml").write_text(SETTINGS)
        fit("--config=settings.yaml")
    return folder


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_state_in_a_checkpoint_would_override_is_refused(
    run_with_states: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.chdir(run_with_states)
    before = contents(RUN)
    to, message = CHANGES[change]
    Path("changed.yaml").write_text(SETTINGS.replace(change, to))
    said = error_of(capsys, "fit", *TINY, "--config=changed.yaml", "--ckpt_path", LAST, "--trainer.max_epochs=2")
    assert f"version_0 was made with {message}, and a run is resumed as it was made: leave that out, or start" in said
    assert said.endswith(f"skipvae fit --init_from {LAST}")
    assert contents(RUN) == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--data.batch_size=20", "--data.batch_size=50, not 20"),
        ("--data.train_size=100", "--data.train_size=200, not 100"),
        ("--data=SineWaves", "--data="),
        ("--model.free_bits=1", "--model.free_bits=0.0, not 1.0"),
        ("--trainer.callbacks+=skipvae.callbacks.FixedKLWeight", "--trainer.callbacks.FixedKLWeight=nothing, not"),
        ("--trainer.gradient_clip_val=1", "--trainer.gradient_clip_val=5.0, not 1"),
        ("--trainer.limit_train_batches=2", "--trainer.limit_train_batches=None, not 2"),
        ("--checkpoints.monitor=val/kl", "--checkpoints.monitor=val/elbo, not val/kl"),
        ("--seed_everything=2", "--seed_everything=1, not 2"),
        ("--name=other", "belongs to the run"),
        ("--version=other", "belongs to the run"),
        ("--trainer.default_root_dir=other", "belongs to the run"),
    ],
)
def test_another_experiment_is_another_run(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    before = contents(Path("lightning_logs"))
    more = ["--trainer.callbacks.beta=1"] if "FixedKLWeight" in option else []
    option = option.replace("SineWaves", "datamodules.FashionMNISTDataModule")
    said = error_of(capsys, "fit", "--ckpt_path", LAST, *QUIET, "--trainer.max_epochs=3", option, *more)
    assert message in said
    assert said.endswith(
        f"leave that out, or start a new run from its weights: skipvae fit --init_from {LAST}"
    ) or said.endswith(f"leave it out, or start a new run from its weights: skipvae fit --init_from {LAST}")
    assert contents(Path("lightning_logs")) == before


def test_what_does_not_decide_the_weights_is_applied_and_written_down(tiny_run: Path) -> None:
    options = {
        "trainer.max_epochs": 3,
        "trainer.log_every_n_steps": 2,
        "trainer.logger": False,
        "trainer.enable_model_summary": True,
        "data.eval_batch_size": 100,
        "model.num_importance_samples": 7,
        "checkpoints.every_n_train_steps": 2,
        "image_grids.num_images": 3,
    }
    watching = ["--trainer.callbacks+=RichModelSummary", "--trainer.callbacks+=DeviceStatsMonitor"]
    cli = resume(*(f"--{name}={value}" for name, value in options.items()), epochs=3)
    assert cli.trainer.global_step == 12
    assert (cli.trainer.log_every_n_steps, cli.trainer.loggers, cli.datamodule.eval_batch_size) == (2, [], 100)
    assert cli.model.num_importance_samples == 7
    saved = yaml.safe_load((tiny_run / "config.yaml").read_text())
    assert saved["trainer"]["max_epochs"] == 3
    assert saved["data"]["init_args"]["eval_batch_size"] == 100
    assert {"ckpt_path", "weights_only", "version"}.isdisjoint(saved)
    assert resume(*watching[:1], epochs=4).trainer.global_step == 16


def test_a_checkpoint_out_of_its_run_is_not_resumed(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("loose.ckpt").write_bytes(LAST.read_bytes())
    said = error_of(capsys, "fit", *TINY, "--ckpt_path=loose.ckpt")
    assert said.startswith("there is no config.yaml beside loose.ckpt")
    assert said.endswith("--init_from loose.ckpt")


def test_differences_of_plain_values_are_complete() -> None:
    made = {"data": {"class_path": "D", "init_args": {"options": {"a": 1}, "old": 1}, "dict_kwargs": {"b": 1}}}
    now = {"data": {"class_path": "D", "init_args": {"options": {"a": 1, "c": 2}, "new": 1}, "dict_kwargs": {"b": 2}}}
    assert [key for key, _, _ in differences(made, now, MAY_CHANGE)] == ["data.dict_kwargs", "data.options"]


# -- --init_from ------------------------------------------------------------------------------------------------------


def weights(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return found


STILL = ("--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0")


def test_a_new_run_starts_from_the_weights_of_another(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(tiny_run)
    source = str(LAST)
    cli = plain(
        ["fit", *TINY, "--init_from=last", "--name=new", *STILL, "--trainer.max_epochs=1", "--data.batch_size=25"]
    )
    new = Path("lightning_logs/new/version_0")
    assert f"new run from all weights in {source}" in capsys.readouterr().out
    assert cli.trainer.global_step == 8
    first, second = weights(LAST), weights(new / "checkpoints/last.ckpt")
    assert all(torch.equal(second[name], weight) for name, weight in first.items())
    saved = yaml.safe_load((new / "config.yaml").read_text())
    assert (saved["init_from"], saved["init_parts"]) == (source, None)
    assert contents(tiny_run) == before
    LAST.unlink()  # not needed any more
    resumed = plain(["fit", f"--ckpt_path={new}/checkpoints/last.ckpt", *QUIET, "--trainer.max_epochs=2"])
    assert resumed.trainer.global_step == 16
    assert yaml.safe_load((new / "config.yaml").read_text())["init_from"] == source


def test_parts_of_a_run_can_be_taken(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fresh = fit("--init_parts=null", *STILL).model.state_dict()
    args = ["--init_from", str(LAST), "--init_parts=encoder", "--model.decoder.hidden_dim=12", *STILL]
    fit(*args)
    taken = weights(RUN.with_name("version_2") / "checkpoints/last.ckpt")
    assert all(
        torch.equal(taken[name], weight) for name, weight in weights(LAST).items() if name.startswith("encoder.")
    )
    assert not torch.equal(taken["encoder.layers.0.weight"], fresh["encoder.layers.0.weight"])
    # Without a config, that of the source is taken, but not the parts that it was started from itself.
    start = f"--init_from={RUN.with_name('version_2')}/checkpoints/last.ckpt"
    plain(["fit", start, *QUIET, "--trainer.max_epochs=1"])
    saved = yaml.safe_load((RUN.with_name("version_3") / "config.yaml").read_text())
    assert saved["init_parts"] is None
    assert saved["model"]["init_args"]["decoder"]["init_args"]["hidden_dim"] == 12


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--init_from=nowhere.ckpt"], "there is no checkpoint nowhere.ckpt"),
        (["--init_from=LAST", "--ckpt_path=last"], "leave out one of the two"),
        (
            ["--init_from=LAST", "--model.encoder.hidden_dim=9"],
            "encoder.layers.0.weight is 8 x 784 there and 9 x 784 here",
        ),
        (
            ["--init_from=LAST", "--init_parts=decoder,encoder", "--model.encoder.hidden_dim=9"],
            "the encoder in LAST does not fit the model: hidden_dim is 8 there and 9 here, so that layers.0.weight is ",
        ),
        (["--init_from=LAST", "--init_parts=tail"], "the model has no part tail"),
        (["--init_parts=encoder"], "give --init_from CHECKPOINT"),
    ],
)
def test_what_cannot_start_a_run_is_one_line(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    said = error_of(capsys, "fit", *TINY, *(arg.replace("LAST", str(LAST)) for arg in args))
    assert message.replace("LAST", str(LAST)) in said
    assert len(list(RUN.parent.iterdir())) == 1


def test_init_from_belongs_to_fit(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "it belongs to fit, not to test" in error_of(capsys, "test", "--ckpt_path=last", "--init_from=last")
