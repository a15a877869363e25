import pytest
import torch

from datamodules.omniglot_sources import shrink
from tests.datamodules.omniglot_files import DRAWINGS


@pytest.mark.parametrize(("height", "size"), [(105, 28), (15, 1), (15, 4), (15, 14), (15, 15)])
def test_shrinking_measures_the_share_of_ink(height: int, size: int) -> None:
    ink = torch.from_numpy(DRAWINGS["background"][0][:2, :height, :height])
    # magnified by `size`, every new pixel is a block of height x height whole ones
    magnified = ink.repeat_interleave(size, 1).repeat_interleave(size, 2)
    share = magnified.view(2, size, height, size, height).double().mean((2, 4))
    assert (shrink(ink, size) - 255 * share).abs().max() <= 0.5 + 1e-3  # it is rounded, from float32
