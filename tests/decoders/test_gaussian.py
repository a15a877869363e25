import pytest
import torch

from skipvae.decoders import Decoder, GaussianMLPDecoder, MLPDecoder
from skipvae.persistence.spec import build


@pytest.mark.parametrize("skip", [False, True])
def test_log_prob_is_that_of_independent_gaussians(skip: bool) -> None:
    torch.manual_seed(0)
    decoder = GaussianMLPDecoder(2, image_shape=(2, 3, 4), hidden_dim=6, skip=skip, scale=0.3).double()
    z, x = torch.randn(5, 2, dtype=torch.double), torch.randn(5, 2, 3, 4, dtype=torch.double)
    reference = torch.distributions.Normal(decoder.preview(z), 0.3).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(decoder.log_prob(x, z), reference, rtol=1e-6, atol=0)


def test_the_mean_comes_from_the_layers_of_the_mlp() -> None:
    torch.manual_seed(0)
    ours = GaussianMLPDecoder(2, image_shape=(1, 3, 4), hidden_dim=6, num_layers=3, skip=True)
    torch.manual_seed(0)
    mlp = MLPDecoder(2, image_shape=(1, 3, 4), hidden_dim=6, num_layers=3, skip=True)
    z = torch.randn(5, 2)
    assert ours.preview(z).equal(mlp.logits(None, z))


def test_samples_have_the_mean_and_the_scale() -> None:
    torch.manual_seed(0)
    decoder, n = GaussianMLPDecoder(2, image_shape=(1, 2, 2), hidden_dim=6, scale=0.5), 20_000
    z = torch.randn(1, 2)
    x = decoder.sample(z.expand(n, 2), generator=torch.Generator().manual_seed(1))
    assert ((x.mean(0) - decoder.preview(z)[0]).abs() < 5 * 0.5 / n**0.5).all()
    assert ((x.std(0) - 0.5).abs() < 5 * 0.5 / (2 * n) ** 0.5).all()


def test_the_most_probable_scale_is_that_of_the_errors() -> None:
    torch.manual_seed(0)
    decoder = GaussianMLPDecoder(2, image_shape=(1, 8, 8), hidden_dim=6)
    z = torch.randn(50, 2)
    x = decoder.preview(z).detach() + 0.2 * torch.randn(50, 1, 8, 8)
    error = (x - decoder.preview(z)).detach().square().mean().sqrt()
    decoder.log_scale.data = error.log()
    decoder(x, z).sum().backward()
    assert abs(decoder.log_scale.grad) < 1e-2  # of 3,200 values
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_a_fixed_scale_stays() -> None:
    decoder = GaussianMLPDecoder(2, image_shape=(1, 2, 2), hidden_dim=6, scale=0.5, learn_scale=False)
    decoder(torch.ones(3, 1, 2, 2), torch.randn(3, 2)).sum().backward()
    assert decoder.log_scale.grad is None
    assert decoder.output.hidden.weight.grad is not None


def test_its_description_builds_it_again() -> None:
    decoder = GaussianMLPDecoder(2, image_shape=(1, 2, 2), hidden_dim=6, scale=0.5, learn_scale=False)
    again = build(decoder.spec, Decoder)
    assert again.spec == decoder.spec
    assert again.log_scale.equal(decoder.log_scale)


def test_likelihood_is_summed_in_float32_under_autocast() -> None:
    decoder = GaussianMLPDecoder(2, hidden_dim=16)
    with torch.autocast("cpu", torch.bfloat16):
        assert decoder(torch.ones(3, 1, 28, 28), torch.randn(3, 2)).dtype == torch.float32


def test_bad_arguments_and_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="scale=0 must be above 0"):
        GaussianMLPDecoder(2, scale=0)
    with pytest.raises(ValueError, match="1 x 4 x 4 but the model was built for 1 x 28 x 28"):
        GaussianMLPDecoder(2).log_prob(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2))
