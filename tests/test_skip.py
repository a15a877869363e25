from typing import Any

import pytest
import torch
from torch import nn

from skipvae.skip import LatentMaps, SkipLinear


@pytest.mark.parametrize("latent_bias", [False, True])
@pytest.mark.parametrize("shape", [(3, 8), (3, 5, 8), (3, 2, 5, 8)])
def test_skip_is_one_linear_layer_of_hidden_and_latent_side_by_side(shape: Any, latent_bias: bool) -> None:
    torch.manual_seed(0)
    layer = SkipLinear(8, 4, latent_dim=2, latent_bias=latent_bias).double()
    h, z = torch.randn(shape, dtype=torch.double), torch.randn(3, 2, dtype=torch.double)
    joint = nn.Linear(10, 4).double()
    joint.weight.data = torch.cat([layer.hidden.weight, layer.latent.weight], 1).detach()
    joint.bias.data = layer.hidden.bias.detach() + (layer.latent.bias.detach() if latent_bias else 0.0)
    z_everywhere = z.view(3, *[1] * (len(shape) - 2), 2).expand(*shape[:-1], 2)
    torch.testing.assert_close(layer(h, z), joint(torch.cat([h, z_everywhere], -1)))


def test_without_a_latent_it_is_an_ordinary_layer_that_owns_nothing_for_z() -> None:
    layer = SkipLinear(8, 4, latent_dim=0)
    h = torch.randn(3, 8)
    torch.testing.assert_close(layer(h, None), layer.hidden(h))
    assert [name for name, _ in layer.named_parameters()] == ["hidden.weight", "hidden.bias"]


def test_maps_are_linear_in_z() -> None:
    torch.manual_seed(0)
    maps = LatentMaps(latent_dim=3, maps=2, height=4, width=5)
    a, b = torch.randn(2, 6, 3)
    constant = maps(torch.zeros(6, 3))
    torch.testing.assert_close(maps(a) + maps(b) - constant, maps(a + b))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("latent_bias", [False, True])
@pytest.mark.parametrize("latent_dim", [0, 2])
def test_the_base_is_the_part_that_does_not_depend_on_h(latent_dim: int, latent_bias: bool, bias: bool) -> None:
    torch.manual_seed(0)
    layer, z = SkipLinear(3, 4, latent_dim, latent_bias, bias), torch.randn(5, 2) if latent_dim else None
    base = layer.base(z).expand(5, -1)
    torch.testing.assert_close(layer(torch.zeros(5, 3), z), base)
    h = torch.randn(5, 6, 3)
    torch.testing.assert_close(layer(h, z), h @ layer.hidden.weight.T + base.unsqueeze(1))
