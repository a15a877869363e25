"""Every likelihood is normalised, agrees with its samples and its mean, and refuses data that it is none of."""

import math

import pytest
import torch
from torch import Tensor

from skipvae.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Likelihood,
    Measure,
)
from skipvae.persistence.spec import build

BYTES = torch.linspace(0, 1, 256, dtype=torch.float64)
OF_BYTES = [Categorical(), DiscretizedLogistic(1), DiscretizedLogistic(4)]
ALL = [
    Bernoulli(),
    ContinuousBernoulli(),
    *OF_BYTES,
    DiscretizedLogistic(3, coupled=True),
    Gaussian(0.3),
    Gaussian(0.3, learn="channel", channels=3, min_scale=0.4),
]


def name(likelihood: Likelihood) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in likelihood.spec["init_args"].items())
    return f"{type(likelihood).__name__}({arguments})"


def parameters_of(likelihood: Likelihood, channels: int, *shape: int, scale: float = 1.0, size: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    number = likelihood.num_parameters(channels)
    return scale * torch.randn(size, number, *shape, generator=generator, dtype=torch.float64)


def at(likelihood: Likelihood, parameters: Tensor, values: Tensor) -> Tensor:
    """log p of each value (N,) of one pixel with one channel, given its parameters (P,): (N,)."""
    repeated = parameters.view(1, -1, 1, 1).expand(len(values), -1, 1, 1)
    return likelihood.log_prob(repeated, values.view(-1, 1, 1, 1))


@pytest.mark.parametrize("likelihood", OF_BYTES, ids=name)
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_the_probabilities_of_all_bytes_sum_to_1(likelihood: Likelihood, scale: float) -> None:
    parameters = parameters_of(likelihood, 1, scale=scale, size=20)
    for each in parameters:
        assert float(at(likelihood, each, BYTES).exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("mean", "log_scale"), [(0.0, -12.0), (-40.0, -3.0), (1.0, 8.0), (0.004, -7.0), (-1.0, -20.0)])
def test_the_logistic_sums_to_1_at_the_edges_and_its_gradient_is_finite(mean: float, log_scale: float) -> None:
    parameters = torch.tensor([0.0, mean, log_scale], dtype=torch.float64, requires_grad=True)
    log_probs = at(DiscretizedLogistic(1), parameters, BYTES)
    assert float(log_probs.detach().exp().sum()) == pytest.approx(1, abs=1e-9)  # of numbers up to 1e6
    assert torch.autograd.grad(log_probs[[0, 17, 255]].sum(), parameters)[0].isfinite().all()
    in_float32 = at(DiscretizedLogistic(1), parameters.float(), BYTES.float())
    assert in_float32.isfinite().all()


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("size", [-1e3, -90.0, 90.0, 1e3])
def test_any_parameters_in_float32_have_a_finite_log_probability_and_gradient(coupled: bool, size: float) -> None:
    likelihood = DiscretizedLogistic(2, coupled)
    parameters = torch.full((256, likelihood.num_parameters(3), 1, 1), size, requires_grad=True)
    x = (torch.arange(256) / 255).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    log_prob = likelihood.log_prob(parameters, x)
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert parameters.grad is not None
    assert parameters.grad.isfinite().all()


def test_a_coupled_pixel_is_a_chain_of_its_channels() -> None:
    likelihood = DiscretizedLogistic(3, coupled=True)
    parameters = parameters_of(likelihood, 3, scale=1.5)[0]
    each = parameters.view(3, 10)  # logit, 3 means, 3 log-scales, 3 coefficients of each component
    red = 0.4
    others = torch.cartesian_prod(torch.tensor([round(red * 255) / 255], dtype=torch.float64), BYTES, BYTES)
    repeated = parameters.view(1, -1, 1, 1).expand(len(others), -1, 1, 1)
    summed = likelihood.log_prob(repeated, others.view(-1, 3, 1, 1)).exp().sum()
    alone = at(DiscretizedLogistic(3), each[:, [0, 1, 4]].reshape(-1), others[:1, 0])
    assert float(summed) == pytest.approx(float(alone.exp()), abs=1e-12)
    # The conditional of green given red has its mean moved by tanh(c_0) v_R.
    moved = each[:, [0, 2, 5]].clone()
    moved[:, 1] += each[:, 7].tanh() * (2 * float(others[0, 0]) - 1)
    one = DiscretizedLogistic(1, coupled=True)
    first = each[0]
    pixels = torch.cartesian_prod(others[0, :1], BYTES[:1], BYTES)
    of_both = one.log_prob(first.view(1, -1, 1, 1).expand(256, -1, 1, 1), pixels.view(-1, 3, 1, 1)).exp().sum()
    of_red = at(DiscretizedLogistic(1), first[[0, 1, 4]], others[:1, 0]).exp()
    of_green = at(DiscretizedLogistic(1), moved[0], BYTES[:1]).exp()
    assert float(of_both) == pytest.approx(float(of_red * of_green), rel=1e-9)


@pytest.mark.parametrize("parameter", [-30.0, -1.0, -1e-4, 0.0, 1e-3, 2.0, 30.0])
def test_the_continuous_bernoulli_integrates_to_1(parameter: float) -> None:
    x = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    density = at(ContinuousBernoulli(), torch.tensor([parameter], dtype=torch.float64), x).exp()
    assert float(density.mean()) == pytest.approx(1, abs=1e-5)


def test_the_gaussian_integrates_to_1_and_is_shifted_by_bytes() -> None:
    x = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    density = at(Gaussian(0.7).double(), torch.tensor([0.3], dtype=torch.float64), x).exp()
    assert float(torch.trapezoid(density, x)) == pytest.approx(1, abs=1e-6)
    torch.manual_seed(0)
    wide_one = Gaussian(10.0, dequantize=True)  # nearly flat over [0, 1], so that u hardly matters
    found = float(wide_one.log_prob(torch.full((1, 1, 1, 1), 0.5), torch.full((1, 1, 1, 1), 100 / 255)))
    assert found == pytest.approx(-0.5 * math.log(2 * math.pi) - math.log(10) - math.log(256), abs=2e-3)


@pytest.mark.parametrize("likelihood", [*ALL, Gaussian(0.1, dequantize=True)], ids=name)
def test_in_evaluation_log_p_is_a_function_of_the_example(likelihood: Likelihood) -> None:
    likelihood = build(likelihood.spec, Likelihood).eval()
    x = torch.randint(2, (20, 3, 4), generator=torch.Generator().manual_seed(0)).float()
    parameters = parameters_of(likelihood, 3, 4, size=20).float()
    order = torch.arange(19, -1, -2)
    some = likelihood.log_prob(parameters[order], x[order])
    torch.testing.assert_close(likelihood.log_prob(parameters, x)[order], some)


def test_dequantisation_is_a_lower_bound_of_the_probability_of_a_byte() -> None:
    torch.manual_seed(0)
    likelihood, size = Gaussian(0.004, dequantize=True), 20_000
    x = torch.full((size, 1, 1, 1), 100 / 255)
    bound = likelihood.log_prob(torch.full((size, 1, 1, 1), 0.394), x)
    edges = torch.tensor([100 / 256, 101 / 256], dtype=torch.float64)
    below = torch.distributions.Normal(0.394, 0.004).cdf(edges)
    stderr = float(bound.std()) / math.sqrt(size)
    assert float(bound.mean()) + 4 * stderr < math.log(float(below[1] - below[0])) + 8 * stderr
    assert float(bound.mean()) < math.log(float(below[1] - below[0])) + 4 * stderr


@pytest.mark.parametrize("likelihood", ALL, ids=name)
def test_gradients_are_those_of_finite_differences(likelihood: Likelihood) -> None:
    likelihood = build(likelihood.spec, Likelihood).double()
    x = likelihood.sample(parameters_of(likelihood, 3, 2)).detach()
    parameters = parameters_of(likelihood, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: likelihood.log_prob(p, x), (parameters,), atol=1e-6)


@pytest.mark.parametrize("likelihood", ALL, ids=name)
def test_samples_have_the_mean_and_the_log_probability(likelihood: Likelihood) -> None:
    likelihood = build(likelihood.spec, Likelihood).double()
    one = parameters_of(likelihood, 3, 2)
    repeated = one.expand(20_000, -1, -1)
    x = likelihood.sample(repeated, torch.Generator().manual_seed(1)).detach()
    assert x.shape == (20_000, 3, 2)
    likelihood.check(x.float())
    stderr = x.std(0) / math.sqrt(len(x))
    inexact = 0.1 if getattr(likelihood, "coupled", False) else 0.5 / 255
    assert ((x.mean(0) - likelihood.mean(one)[0]).abs() < 5 * stderr + inexact).all()
    if likelihood.measure.is_density:
        return
    # E[1 / p(x)] over samples is the number of values that x can take, where p is not too small: here of one channel.
    single = parameters_of(likelihood, 1, 1) if not getattr(likelihood, "coupled", False) else None
    if single is not None:
        drawn = likelihood.sample(single.expand(20_000, -1, -1), torch.Generator().manual_seed(2))
        values, counts = drawn.unique(return_counts=True)
        expected = at(likelihood, single.view(-1), values).exp() * 20_000
        often = expected > 20
        assert ((counts - expected).abs()[often] < 5.5 * expected[often].sqrt()).all()
        assert often.any()


def test_samples_of_coupled_channels_have_their_joint_log_probability() -> None:
    likelihood = DiscretizedLogistic(2, coupled=True)
    parameters = parameters_of(likelihood, 3, scale=0.5)
    parameters[:, [4, 5, 6, 14, 15, 16]] = -3.0  # narrow, so that the channels depend on each other visibly
    repeated = parameters.view(1, -1, 1, 1).expand(20_000, -1, 1, 1)
    x = likelihood.sample(repeated, torch.Generator().manual_seed(0))
    log_prob = likelihood.log_prob(repeated, x)
    entropy = -float(log_prob.mean())  # of a sample from the model; cross-entropy of shuffled channels is larger
    shuffled = torch.stack(
        [x[:, 0], x[torch.randperm(20_000, generator=torch.Generator().manual_seed(1)), 1], x[:, 2]], 1
    )
    assert -float(likelihood.log_prob(repeated, shuffled).mean()) > entropy + 0.1
    again = likelihood.sample(repeated, torch.Generator().manual_seed(0))
    assert torch.equal(x, again)


@pytest.mark.parametrize("likelihood", ALL, ids=name)
def test_the_gaussian_scale_is_learnt_and_tables_work_as_images_do(likelihood: Likelihood) -> None:
    x = likelihood.sample(parameters_of(likelihood, 3, 7, size=5)).detach()
    parameters = parameters_of(likelihood, 3, 7, size=5)
    together = likelihood.log_prob(parameters, x)
    assert together.shape == (5,)
    apart = sum(likelihood.log_prob(parameters[..., [i]], x[..., [i]]) for i in range(7))
    torch.testing.assert_close(together, apart)


def test_the_scale_of_the_gaussian_reaches_its_optimum_within_a_few_hundred_steps() -> None:
    torch.manual_seed(0)
    likelihood = Gaussian(1.0)
    optimizer = torch.optim.Adam(likelihood.parameters(), 1e-3)
    x = 0.02 * torch.randn(500, 1, 10)
    for _ in range(600):
        optimizer.zero_grad()
        (-likelihood.log_prob(torch.zeros_like(x), x).mean()).backward()
        optimizer.step()
    assert float(likelihood.log_scale.detach().exp()) == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(
    ("likelihood", "x", "said"),
    [
        (Bernoulli(), torch.tensor([0.0, 1.5]), "float32 from 0 to 1.5"),
        (Bernoulli(), torch.tensor([0, 1]), "int64 from 0 to 1"),
        (ContinuousBernoulli(), torch.tensor([0.0, 255.0]), "float32 from 0 to 255"),
        (Categorical(), torch.tensor([0.0, 0.5]), "bytes"),
        (Categorical(), torch.tensor([0.0, math.nan]), "bytes"),
        (DiscretizedLogistic(), torch.tensor([0.1234]), "bytes"),
        (Gaussian(), torch.tensor([1]), "finite floats"),
        (Gaussian(), torch.tensor([math.inf]), "finite floats"),
        (Gaussian(dequantize=True), torch.tensor([0.1234]), "leave it out"),
    ],
)
def test_other_data_is_refused(likelihood: Likelihood, x: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        likelihood.check(x)


def test_what_is_no_log_probability_is_said() -> None:
    binary, grey = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 100 / 255])
    assert Bernoulli().check(binary) is Measure.BINARY
    assert Bernoulli().check(grey) is Measure.NEITHER
    for likelihood in (*ALL, Gaussian(dequantize=True)):
        if not isinstance(likelihood, Bernoulli):
            assert likelihood.check(grey) is likelihood.measure
            assert likelihood.measure.is_density == (type(likelihood) in (ContinuousBernoulli, Gaussian)) or (
                likelihood.measure is Measure.BYTES_BOUND
            )


def test_bytes_in_float32_are_bytes() -> None:
    x = torch.arange(256).float() / 255
    for likelihood in (*OF_BYTES, Gaussian(dequantize=True)):
        likelihood.check(x)
    assert torch.equal(
        (Categorical().log_prob(torch.zeros(1, 256, 256), x.view(1, 1, -1))).isfinite(), torch.tensor([True])
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: DiscretizedLogistic(0),
        lambda: DiscretizedLogistic(2, coupled=True).num_parameters(1),
        lambda: Gaussian(0.0),
        lambda: Gaussian(learn="channel"),
        lambda: Gaussian(learn="all"),  # type: ignore[arg-type]
        lambda: Gaussian(channels=3),
        lambda: Gaussian(learn="none", min_scale=0.1),
        lambda: Gaussian(min_scale=-0.1),
        lambda: Gaussian(learn="channel", channels=4).num_parameters(3),
    ],
)
def test_arguments_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"must be|is for|needs channels|choose from|make them equal"):
        make()  # type: ignore[operator]
