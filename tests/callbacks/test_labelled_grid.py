"""Labels of a grid of images."""

import numpy as np
import pytest
import torch

from skipvae.callbacks.labelled_grid import SMALLEST_ROW, labelled_grid
from skipvae.callbacks.tiles import LINE, tiles


@pytest.mark.parametrize(("height", "scale"), [(28, 1), (4, 5)])
def test_the_grid_is_kept_and_enlarged_where_a_label_would_not_fit(height: int, scale: int) -> None:
    grid = tiles(torch.rand(6, 1, height, 64, generator=torch.Generator().manual_seed(0)), columns=3)
    picture = labelled_grid(grid, ["z1  2.00", "z0  0.10"], ["-3", "0", "3"])
    inner = picture[SMALLEST_ROW:, -grid.shape[2] * scale :]
    expected = (255 * grid).round().byte().permute(1, 2, 0).repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    assert np.array_equal(inner, expected.numpy())
    assert (height + LINE) * scale >= SMALLEST_ROW


def test_each_row_and_column_has_its_label() -> None:
    grid = tiles(torch.zeros(6, 1, 64, 64), columns=3)
    picture = labelled_grid(grid, ["z1", "z0"], ["-3", "0", "3"])
    left, cell = picture.shape[1] - grid.shape[2], 64 + LINE
    rows = [picture[SMALLEST_ROW + cell * row :, :left][:cell] for row in range(2)]
    columns = [picture[:SMALLEST_ROW, left + cell * column :][:, :cell] for column in range(3)]
    assert all(np.min(part) < 100 and np.max(part) == 255 for part in (*rows, *columns))
    assert not np.array_equal(*rows)


def test_column_labels_that_would_overlap_are_left_out() -> None:
    grid = tiles(torch.zeros(3, 1, 64, 8), columns=3)
    picture = labelled_grid(grid, ["z0"], ["-3.0", "0.0", "3.0"])
    assert (picture[:SMALLEST_ROW, -grid.shape[2] :] == 255).all()
