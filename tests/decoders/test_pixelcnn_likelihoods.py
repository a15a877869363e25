"""PixelCNNs of bytes and real values: what each parameter depends on, and that the cached sampler is exact."""

import itertools
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from skipvae.decoders import GatedPixelCNNDecoder, ResidualPixelCNNDecoder
from skipvae.decoders.pixel_by_pixel import PixelByPixelDecoder
from skipvae.likelihoods import Categorical, ContinuousBernoulli, DiscretizedLogistic, Gaussian, Likelihood
from skipvae.persistence.spec import build
from tests.decoders.test_pixelcnn import make

COLOUR = (3, 4, 3)
LIKELIHOODS = {
    "categorical": Categorical(),
    "logistic": DiscretizedLogistic(num_mixtures=2),
    "coupled": DiscretizedLogistic(num_mixtures=2, coupled=True),
    "gaussian": Gaussian(0.5, dequantize=True),
    "continuous": ContinuousBernoulli(),
}


def coloured(
    likelihood: Likelihood, image_shape: tuple[int, int, int] = COLOUR, kernel_size: int = 3
) -> GatedPixelCNNDecoder:
    arguments = {"channels": 6, "num_layers": 2, "kernel_size": kernel_size, "likelihood": deepcopy(likelihood)}
    decoder = make(image_shape, latent_dim=2, skip=True, **arguments)
    decoder.likelihood = deepcopy(likelihood).double()  # with its own parameters as they were
    with torch.no_grad():
        for parameter in decoder.output.parameters():
            parameter.mul_(0.1)  # else such weights make everything black or white
    return decoder


@torch.no_grad()
def sample_naively(decoder: PixelByPixelDecoder, z: Tensor, uniform: Tensor, passes: int) -> Tensor:
    """A pass over the whole image for every pixel and, unless the likelihood couples them, every channel."""
    _, height, width = decoder.image_shape
    x = uniform.new_zeros(len(z), *decoder.image_shape)
    for i, j, c in itertools.product(range(height), range(width), range(passes)):
        drawn = decoder.likelihood.draw(decoder.logits(x, z)[:, :, i, j], uniform[:, :, i, j])
        final = slice(None) if passes == 1 else c
        x[:, final, i, j] = drawn[:, final]
    return x


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_cached_sampler_draws_what_the_naive_loop_draws(name: str) -> None:
    decoder = coloured(LIKELIHOODS[name])
    z = torch.randn(8, 2).double()
    shape = (8, decoder.likelihood.num_uniforms(3), *COLOUR[1:])
    uniform = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    images = decoder.sample(z, generator=torch.Generator().manual_seed(1))
    expected = sample_naively(decoder, z, uniform, 1 if name == "coupled" else 3)
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-9 if name == "continuous" else 0)
    assert len(images.unique()) > 30
    decoder.likelihood.check(images)


def test_the_residual_decoder_draws_what_the_naive_loop_draws() -> None:
    torch.manual_seed(0)
    arguments = {"channels": 4, "kernel_sizes": [3, 3, 3], "likelihood": DiscretizedLogistic(2)}
    decoder = ResidualPixelCNNDecoder(2, (1, 5, 4), **arguments).double().eval()  # type: ignore[arg-type]
    z = torch.randn(4, 2).double()
    uniform = torch.rand(4, 2, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    images = decoder.sample(z, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(images, sample_naively(decoder, z, uniform, 1), rtol=0, atol=0)
    assert len(images.unique()) > 10


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_parameter_depends_on_all_earlier_values_and_on_no_other(name: str) -> None:
    decoder = coloured(LIKELIHOODS[name])
    z = torch.randn(1, 2).double()
    x = torch.rand(1, *COLOUR).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: decoder.logits(x, z), x)[0, :, :, :, 0]
    _, height, width = COLOUR
    for p, (i, j) in itertools.product(range(decoder.num_parameters), itertools.product(range(height), range(width))):
        earlier = torch.zeros(COLOUR, dtype=torch.bool)
        earlier[:, :i], earlier[:, i, :j] = True, True
        if name != "coupled":  # parameters go by channel: P = size x C
            earlier[: p % 3, i, j] = True
        assert not jacobian[p, i, j][~earlier].any()
    near = jacobian[:, height - 1, width - 1].ne(0)  # of the last pixel: what two layers of kernel 3 reach
    assert near[:, :, height - 2 :].flatten(1).any(1).sum() == decoder.num_parameters


@pytest.mark.parametrize("name", ["categorical", "logistic"])
@pytest.mark.parametrize("image_shape", [(2, 1, 1), (1, 1, 2)])
def test_the_probabilities_of_all_images_of_two_bytes_sum_to_one(name: str, image_shape: tuple[int, int, int]) -> None:
    decoder = coloured(LIKELIHOODS[name], image_shape=image_shape, kernel_size=1)
    images = torch.cartesian_prod(*[torch.arange(256).double() / 255] * 2).view(-1, *image_shape)
    with torch.no_grad():
        log_prob = decoder.log_prob(images, torch.randn(1, 2).double().expand(len(images), -1))
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert log_prob.std() > 0.1


def test_the_description_builds_the_same_decoder_and_bernoulli_colour_is_as_before() -> None:
    torch.manual_seed(0)
    decoder = GatedPixelCNNDecoder(2, COLOUR, channels=6, num_layers=2, likelihood=DiscretizedLogistic(3, coupled=True))
    again = build(decoder.spec, PixelByPixelDecoder)
    again.load_state_dict(decoder.state_dict())
    x, z = torch.rand(2, *COLOUR), torch.randn(2, 2)
    assert torch.equal(again(x, z), decoder(x, z))
    assert GatedPixelCNNDecoder(2, COLOUR, channels=6, num_layers=2).output.out_channels == 3


def test_coupling_needs_three_channels() -> None:
    with pytest.raises(ValueError, match="coupled: true is for images of three channels, not 1"):
        GatedPixelCNNDecoder(2, (1, 5, 5), channels=6, num_layers=2, likelihood=DiscretizedLogistic(3, coupled=True))
