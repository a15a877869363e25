"""Files of codes: written piece by piece, read in any of their forms."""

import io
from pathlib import Path

import numpy as np
import pytest

from skipvae.cli import main
from skipvae.cli.code_files import open_codes
from tests.command_line import contents, error_of
from tests.models.test_values import image_model, table_model


def test_memory_does_not_grow_with_the_inputs(workspace: Path) -> None:
    """Columns of many rows are written piece by piece: the .npz of a long job is the same as of one piece."""
    columns = {"input": ["a", "bb\n"], "position": np.array([-1, 3]), "mean": np.ones((2, 2), np.float32)}
    with open_codes("many.npz") as writer:
        for _ in range(3):
            writer.write(columns)
    with np.load("many.npz") as arrays:
        assert arrays["input"].tolist() == ["a", "bb\n"] * 3
        assert arrays["position"].tolist() == [-1, 3] * 3
        assert arrays["mean"].shape == (6, 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: io.FileIO("/dev/full", "wb"))
    with pytest.raises(OSError, match=r"No space left on device: 'a\.npz'"), open_codes("a.npz") as writer:
        writer.write({"input": ["a"]})


def test_rows_without_codes_are_counted(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image_model().save_checkpoint("i.ckpt")
    table_model().save_checkpoint("t.ckpt")
    np.save("some.npy", [[0.0, 0.0], [np.nan, 0.0]])
    np.save("none.npy", np.full((2, 2), np.nan))
    np.save("empty.npy", np.zeros((0, 2)))
    for model in ("i", "t"):
        main(["decode", f"--ckpt_path={model}.ckpt", "some.npy"])
        assert "left out: 1 of 2 rows, which have no code" in capsys.readouterr().err
        for name, size in (("none", 2), ("empty", 0)):
            before = contents(Path())
            message = error_of(capsys, "decode", f"--ckpt_path={model}.ckpt", f"{name}.npy")
            assert message == f"{name}.npy has no codes to decode, in {size} rows"
            assert contents(Path()) == before
    assert image_model().decode([[0, 1]]).shape == (1, 1, 28, 28)  # whole numbers are codes, too
