import pytest

from skipvae.cli.data_settings import with_own_data_settings
from tests.command_line import CONFIG, ROOT, plain

VERSES = str(ROOT / "configs/verses/vae_small.yaml")


def parsed(capsys, *args):
    with pytest.raises(SystemExit):
        plain(["fit", *args, "--print_config"])
    return [line.strip() for line in capsys.readouterr().out.partition("\ndata:")[2].splitlines()]


@pytest.mark.parametrize("data", [["--data", "datamodules.TextDataModule"], ["--data=TextDataModule"]])
def test_settings_of_one_corpus_do_not_follow_to_another(capsys, data):
    shown = parsed(capsys, "--config", VERSES, "--data.batch_size=7", *data, "--data.train=mine.txt")
    assert {"train: mine.txt", "vocab_size: 20000", "max_length: 200", "train_size: null", "batch_size: 7"} <= {*shown}


def test_settings_of_one_kind_of_images_do_not_follow_to_another(capsys):
    shown = parsed(capsys, f"--config={CONFIG}", "--data=datamodules.OmniglotDataModule", "--data.variant=npz")
    assert {"batch_size: 50", "variant: npz"} <= {*shown}


@pytest.mark.parametrize(
    "args",
    [
        ["fit", "--config", VERSES, "--data=datamodules.VersesDataModule"],
        ["fit", "--config", VERSES, "--data=VersesDataModule"],
        ["fit", "--config", VERSES, "--data.train_size=9"],
        ["fit", "--data=TextDataModule"],
        ["fit", "--config", "none.yaml", "--data=TextDataModule"],
        ["test", "--config", VERSES, "--data=TextDataModule"],  # whose preprocessing is that of the run
    ],
)
def test_otherwise_a_command_line_stays_as_it_is(args):
    assert with_own_data_settings(args) == args
