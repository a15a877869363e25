import pytest
import torch


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(2)).round()


@pytest.fixture
def sentences() -> torch.Tensor:
    words = torch.randint(4, 12, (6, 7), generator=torch.Generator().manual_seed(2))
    words[:, 0], words[:, -1] = 2, 3
    return words
