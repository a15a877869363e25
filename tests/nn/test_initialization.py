import torch
from torch import nn

from skipvae.nn.initialization import he_normal, uniform


def test_uniform_fills_its_range_for_every_parameter() -> None:
    torch.manual_seed(0)
    module = nn.ModuleList([nn.Embedding(50, 40), nn.LSTM(40, 30), nn.Linear(30, 20)])
    uniform(module, 0.3)
    for parameter in module.parameters():
        assert parameter.abs().max() <= 0.3
    values = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    # The mean of n draws has the standard error 0.3 / sqrt(3 n), their mean square 0.09 * sqrt(4 / 45 / n).
    n = len(values)
    assert abs(values.mean()) < 5 * 0.3 / (3 * n) ** 0.5
    assert abs(values.square().mean() - 0.03) < 5 * 0.09 * (4 / 45 / n) ** 0.5


def test_he_normal_keeps_the_variance_of_a_relu_layer_and_leaves_biases_alone() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(400, 500)
    bias = layer.bias.detach().clone()
    he_normal(layer)
    assert abs(layer.weight.var().item() * 400 / 2 - 1) < 5 * (2 / layer.weight.numel()) ** 0.5
    assert torch.equal(layer.bias, bias)
