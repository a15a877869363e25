"""Mistakes that a command line shows at first sight."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skipvae import cli
from skipvae.cli import generate, generate_options, main, usage
from skipvae.cli.trainer_cli import SkipVAECLI
from tests.command_line import CONFIG, ROOT, error_of

HEAVY = {"torch", "pytorch_lightning", "jsonargparse", "numpy"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sampel"], "there is no command sampel: did you mean sample?"),
        (
            ["fit", "--name=x"],
            "skipvae fit needs --config FILE, --ckpt_path FILE or last to resume a run, or --init_from FILE",
        ),
        (["test", "--name=x"], "skipvae test needs a trained model: give --ckpt_path FILE, last or best"),
        (["fit", "--config=c.yaml", "--modle.decoder.skip=true"], "fit has no option --modle: did you mean --model?"),
        (["fit", "--conf=c.yaml"], "fit has no option --conf: did you mean --config?"),
        (["sample", "--ckpt_path=last", "--tempratur=3"], "sample has no option --tempratur: did you mean --temp"),
        (
            ["predict", "--ckpt_path=best", "--output=z.csv"],
            "predict has no option --output: it is called --predictions",
        ),
        (["sample", "--num=3"], "skipvae sample needs a trained model: give --ckpt_path FILE, last or best"),
        (
            ["reconstruct", "--ckpt_path=last", "--text", "one", "--text", "two"],
            "the option --text is given twice: leave one out",
        ),
        (["explore", "--port=80"], "skipvae explore needs a trained model: give --ckpt_path FILE, last or best"),
        (["explore", "--ckpt_path=last", "--prot=80"], "explore has no option --prot: did you mean --port?"),
        (["fit", "--config=c.yaml", "--name=a", "--name", "b"], "the option --name is given twice: leave one out"),
    ],
)
def test_it_is_one_line_before_anything_heavy_is_imported(
    workspace: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    assert message in error_of(capsys, *args)
    assert not list(Path.cwd().iterdir())


def test_nothing_heavy_is_imported_for_help_and_mistakes(tmp_path: Path) -> None:
    lines = (["--help"], ["--version"], ["sampel"], ["fit"], ["fit", "--config=c", "--modle=1"], ["sample", "--nmu=1"])
    lines += (
        ["sample", "--help"],
        ["interpolate", "-h"],
        ["explore", "-h"],
        ["study", "--help"],
        ["study", "run", "--help"],
    )
    code = (
        "import contextlib, io, sys\nfrom skipvae.cli import main\n"
        f"for args in {lines!r}:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as printed:\n"
        "        main(args)\n"
        "    if {'--help', '-h'} & {*args}:\n"
        "        assert 'usage: skipvae' in printed.getvalue()\n"
        "        assert args[0] == '--help' or '--' in printed.getvalue()\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr.count("skipvae: error: ") == 4
    assert "Traceback" not in done.stderr


def test_the_table_of_options_holds_all_that_there_are(workspace: Path) -> None:
    for command in cli.TRAINER_COMMANDS:
        names = vars(parser_of(command).get_defaults().as_flat())
        assert {name.partition(".")[0] for name in names} <= usage.OPTIONS[command]
    assert generate.FUNCTIONS.keys() == generate_options.COMMANDS.keys() == set(cli.GENERATE_COMMANDS)


def test_help_of_the_generating_commands_names_each_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    main(["interpolate", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"--{option}" in shown for option in usage.OPTIONS["interpolate"])
    assert "Number of points on the line, both ends included. (default: 10)" in shown


def parser_of(command: Any) -> Any:
    """The parser of one of Lightning's commands."""
    found = []

    class StopError(Exception):
        pass

    class Seen(SkipVAECLI):
        @staticmethod
        def subcommands() -> dict[Any, Any]:
            return {command: SkipVAECLI.subcommands()[command]}

        def parse_arguments(self, parser: Any, args: Any) -> None:
            found.append(self.command_parser)
            raise StopError

    from pytorch_lightning import LightningDataModule, LightningModule

    with pytest.raises(StopError):
        Seen(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=[command],
        )
    return found[0]


@pytest.mark.parametrize("content", ["modle: {}", "modle: {class_path: x}", "trainr.max_epochs: 3"])
def test_a_misspelt_key_of_a_config_is_named(workspace: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    Path("mine.yaml").write_text(content)
    key, meant = content.partition(":")[0], "model" if "modle" in content else "trainer"
    said = error_of(capsys, "fit", "--config", CONFIG, "--config", "mine.yaml")
    assert said == f"mine.yaml: there is no setting {key}: did you mean {meant}?"


def test_options_are_not_guessed_from_their_beginnings(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "max_epoch" in error_of(capsys, "fit", "--config", CONFIG, "--trainer.max_epoch=1")
    said = error_of(capsys, "fit", "--config", CONFIG, "--model.decoder.num_layer=1")
    assert said.count("it takes") == 1
    assert said.endswith(": did you mean num_layers?")


def test_help_about_a_class_needs_no_config(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["fit", "--data.help", "datamodules.TextDataModule"])
    assert exit_.value.code == 0
    assert "--data.too_long" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--trainer.max_epoch=1", "--trainer.max_epochs"),
        ("--predictions.otput=x.csv", "--predictions.output"),
        ("--checkpoints.every_n_train_step=1", "--checkpoints.every_n_train_steps"),
    ],
)
def test_a_misspelt_nested_option_is_named(
    workspace: Path, capsys: pytest.CaptureFixture[str], option: str, meant: str
) -> None:
    assert error_of(capsys, "fit", "--config", CONFIG, option).endswith(f": did you mean {meant}?")


def test_a_misspelt_nested_key_of_a_config_is_named(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("trainer: {max_epoch: 3}")
    assert error_of(capsys, "fit", "--config", CONFIG, "--config", "mine.yaml").endswith("mean --trainer.max_epochs?")


def test_lists_of_the_command_line_grow() -> None:
    callbacks = [f"--trainer.callbacks{option}" for option in ("+=A", ".x=1", "+=B", ".x=2")]
    usage.check_repeats(["--config=a", "--config", "b", *callbacks])


@pytest.mark.parametrize("wrapped", [False, True])
def test_ctrl_c_is_one_line_at_any_time(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    def interrupted(*_: Any) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            if wrapped:  # as C extensions do that are interrupted while they are imported
                raise ImportError("initialization failed") from interrupt
            raise

    monkeypatch.setattr(cli, "run", interrupted)
    with pytest.raises(SystemExit) as exit_:
        main(["fit", "--config", str(CONFIG)])
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "skipvae: interrupted\n"
