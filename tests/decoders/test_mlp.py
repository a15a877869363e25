from typing import Any

import pytest
import torch

from skipvae.decoders import GaussianMLPDecoder, MLPDecoder, ResNetDecoder
from skipvae.encoders import MLPEncoder
from skipvae.likelihoods import Bernoulli, Categorical, DiscretizedLogistic, Likelihood
from skipvae.likelihoods.gaussian import GAIN


@pytest.mark.parametrize(("skip", "output_skip"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("num_layers", [0, 1, 4])
def test_follows_the_formula_of_the_paper(skip: bool, output_skip: bool, num_layers: int) -> None:
    torch.manual_seed(0)
    sizes = {"image_shape": (1, 3, 4), "hidden_dim": 6, "num_layers": num_layers}
    decoder = MLPDecoder(2, **sizes, skip=skip, output_skip=output_skip).double()
    z = torch.randn(5, 2, dtype=torch.double)
    h = z @ decoder.input.weight.T + decoder.input.bias
    for layer in [*decoder.hidden, decoder.output]:
        total = h @ layer.hidden.weight.T + layer.hidden.bias
        if skip and layer is not decoder.output:
            total = total + z @ layer.latent.weight.T + layer.latent.bias
        if output_skip and layer is decoder.output:
            total = total + z @ layer.latent.weight.T
        h = total.relu() if layer is not decoder.output else total
    torch.testing.assert_close(decoder.logits(None, z), h.view(5, 1, 3, 4))


@pytest.mark.parametrize("skip", [False, True])
def test_every_parameter_is_used(skip: bool) -> None:
    decoder = MLPDecoder(2, image_shape=(1, 3, 4), hidden_dim=16, num_layers=3, skip=skip)
    decoder(torch.ones(5, 1, 3, 4), torch.randn(5, 2)).sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_log_prob_is_bernoulli_in_nats() -> None:
    torch.manual_seed(0)
    decoder = MLPDecoder(2, image_shape=(2, 3, 4), hidden_dim=6).double()
    z, x = torch.randn(5, 2, dtype=torch.double), torch.rand(5, 2, 3, 4, dtype=torch.double).round()
    reference = torch.distributions.Bernoulli(logits=decoder.logits(None, z)).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(decoder.log_prob(x, z), reference)


def test_samples_follow_the_probabilities() -> None:
    torch.manual_seed(0)
    decoder, n = MLPDecoder(2, image_shape=(1, 2, 2), hidden_dim=6), 20_000
    z = torch.randn(1, 2)
    p = decoder.preview(z)
    frequency = decoder.sample(z.expand(n, 2), generator=torch.Generator().manual_seed(1)).mean(0)
    assert ((frequency - p[0]).abs() < 5 * (p[0] * (1 - p[0]) / n).sqrt()).all()


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="1 x 4 x 4 but the model was built for 1 x 28 x 28"):
        MLPDecoder(2).log_prob(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2))


@pytest.mark.parametrize("likelihood", [None, Bernoulli(), Categorical(), DiscretizedLogistic(3)])
def test_rows_of_a_table_have_a_likelihood_of_each_column(likelihood: Likelihood | None) -> None:
    torch.manual_seed(0)
    decoder = MLPDecoder(2, image_shape=(4,), hidden_dim=6, skip=True, likelihood=likelihood)
    assert decoder.modality == "table"
    z = torch.randn(5, 2)
    x = decoder.sample(z).detach()
    assert x.shape == decoder.preview(z).shape == (5, 4)
    decoder.check(x)
    as_images = decoder.likelihood.log_prob(decoder.logits(None, z)[..., None, None], x[..., None, None])
    torch.testing.assert_close(decoder.log_prob(x, z), as_images)
    decoder.log_prob(x, z).sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())
    with pytest.raises(ValueError, match="the rows are 3 but the model was built for 4"):
        decoder.log_prob(x[:, :3], z)


def test_the_likelihood_of_a_table_is_gaussian_with_a_scale_for_each_column() -> None:
    decoder = MLPDecoder(2, image_shape=(3,), hidden_dim=6)
    scale = torch.tensor([0.5, 1.0, 2.0])
    with torch.no_grad():
        decoder.likelihood.weight.copy_(scale.log() / GAIN)
    x, z = torch.randn(5, 3), torch.randn(5, 2)
    deviation = (scale**2 + 0.01**2).sqrt()  # scales stay above a hundredth
    normal = torch.distributions.Normal(decoder.preview(z), deviation)
    torch.testing.assert_close(decoder.log_prob(x, z), normal.log_prob(x).sum(1))
    decoder.likelihood.weight.data.fill_(-100.0)
    assert decoder.log_prob(decoder.preview(z), z).max() < 3 * 4  # -log(0.01 sqrt(2 pi)) = 3.7 for each column


def test_other_shapes_are_refused() -> None:
    for network in (MLPDecoder, MLPEncoder):
        for shape in ((), (0,), (2, 3), None):
            with pytest.raises(ValueError, match="image_shape must be"):
                network(2, image_shape=shape)
    for build_one in (GaussianMLPDecoder, ResNetDecoder):
        with pytest.raises(ValueError, match=r"\[3\]: for the columns of a table take MLPEncoder and MLPDecoder"):
            build_one(2, image_shape=(3,))


def test_needs_a_latent() -> None:
    with pytest.raises(ValueError, match="latent_dim >= 1"):
        MLPDecoder(0)


def test_an_output_skip_without_skips_is_refused() -> None:
    with pytest.raises(ValueError, match="output_skip=true needs skip=true"):
        MLPDecoder(2, output_skip=True)


@pytest.mark.parametrize("network", [MLPDecoder, MLPEncoder])
def test_initialisation_is_pytorchs_or_he(network: Any) -> None:
    torch.manual_seed(0)
    default, he = (network(5, hidden_dim=300, init=init) for init in ("default", "he"))
    layers = [
        [m for m in net.modules() if isinstance(m, torch.nn.Linear) and m.in_features == 300] for net in (default, he)
    ]
    for layer in layers[0]:  # U(-1/sqrt(fan_in), 1/sqrt(fan_in))
        assert 0.99 / 300**0.5 < layer.weight.abs().max() <= 1 / 300**0.5
    for layer in layers[1]:  # the variance of n normal numbers has the relative standard error sqrt(2 / n)
        assert abs(layer.weight.var() * 300 / 2 - 1) < 5 * (2 / layer.weight.numel()) ** 0.5
    with pytest.raises(ValueError, match="choose from default, he"):
        network(5, init="xavier")


@pytest.mark.parametrize("network", [MLPDecoder, MLPEncoder])
def test_negative_depth_is_refused(network: Any) -> None:
    with pytest.raises(ValueError, match="num_layers is -1"):
        network(2, num_layers=-1)


def test_likelihood_is_summed_in_float32_under_autocast() -> None:
    decoder = MLPDecoder(2, hidden_dim=16)
    with torch.autocast("cpu", torch.bfloat16):
        assert decoder(torch.ones(3, 1, 28, 28), torch.randn(3, 2)).dtype == torch.float32
