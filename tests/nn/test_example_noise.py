import torch

from skipvae.nn.example_noise import example_keys, example_noise, example_uniform


def test_the_noise_is_standard_normal_and_independent() -> None:
    x = torch.rand(20_000, 1, 3, 3, generator=torch.Generator().manual_seed(0)).round(decimals=2)
    noise = example_noise(x, 3, 2, torch.float64).transpose(0, 1).flatten(1)  # (20000, 6)
    assert noise.isfinite().all()
    assert noise.mean(0).abs().max() < 5 / len(x) ** 0.5
    assert (noise.T @ noise / len(x) - torch.eye(6)).abs().max() < 5 * (2 / len(x)) ** 0.5
    steps = torch.linspace(-3, 3, 13, dtype=torch.float64)
    found = (noise.flatten().unsqueeze(1) < steps).double().mean(0)
    assert (found - torch.special.ndtr(steps)).abs().max() < 5 * 0.5 / noise.numel() ** 0.5


def test_neighbouring_examples_and_other_orders_have_noise_of_their_own() -> None:
    words = torch.tensor([[2, 5, 6, 3], [2, 6, 5, 3], [2, 5, 7, 3], [2, 5, 3, 0]])
    assert len(example_keys(words).unique()) == 4
    pixels = torch.eye(9)  # one bright pixel each
    assert len(example_keys(pixels).unique()) == 9
    correlation = torch.corrcoef(example_noise(pixels, 1000, 1, torch.float64).squeeze(-1).T)
    assert (correlation - torch.eye(9)).abs().max() < 5 / 1000**0.5


def test_uniform_noise_is_uniform_and_independent_of_the_normal() -> None:
    x = torch.rand(20_000, 1, 3, 3, generator=torch.Generator().manual_seed(0)).round(decimals=2)
    noise = example_uniform(x).double().flatten(1)  # (20000, 9)
    assert noise.min() >= 0
    assert noise.max() < 1
    steps = torch.linspace(0, 1, 13, dtype=torch.float64)
    found = (noise.unsqueeze(-1) < steps).double().mean(0)
    assert (found - steps).abs().max() < 5 * 0.5 / len(x) ** 0.5
    both = torch.cat([noise, example_noise(x, 1, 4, torch.float64)[0]], 1)
    assert (torch.corrcoef(both.T) - torch.eye(13)).abs().max() < 5 / len(x) ** 0.5


def test_types_of_the_same_content_agree() -> None:
    x = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)).double().float()
    assert example_keys(x).equal(example_keys(x.double()))
    assert example_keys(torch.tensor([[2, 5, 3]])).equal(example_keys(torch.tensor([[2, 5, 3]], dtype=torch.int32)))
