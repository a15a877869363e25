"""The convolutional decoder: any image size, any likelihood, z in every block if it skips."""

import pytest
import torch

from skipvae import VAE
from skipvae.decoders import Decoder, MLPDecoder, ResNetDecoder
from skipvae.encoders import MLPEncoder
from skipvae.likelihoods import Categorical, DiscretizedLogistic, Gaussian
from skipvae.persistence.spec import build

LIKELIHOODS = [None, Categorical(), DiscretizedLogistic(2, coupled=True), Gaussian(0.3)]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 48), (2, 9, 7)])
@pytest.mark.parametrize("skip", [False, True])
def test_images_of_any_size(shape: tuple[int, int, int], skip: bool) -> None:
    decoder = ResNetDecoder(3, shape, channels=[8, 6, 4], num_blocks=2, skip=skip)
    z = torch.randn(2, 3)
    x = decoder.sample(z)
    assert x.shape == (2, *shape)
    log_prob = decoder.log_prob(x, z)
    assert log_prob.shape == (2,)
    alone = torch.stack([decoder.log_prob(x[i : i + 1], z[i : i + 1])[0] for i in range(2)])
    torch.testing.assert_close(log_prob, alone)  # no number depends on the batch
    log_prob.sum().backward()
    assert all(weight.grad is not None for weight in decoder.parameters())


def with_skip(skip: bool) -> ResNetDecoder:
    """The same network with and without, by the same seed."""
    torch.manual_seed(0)
    return ResNetDecoder(3, (3, 8, 8), channels=[8, 4], num_blocks=2, skip=skip)


def test_skip_adds_weights_of_z_and_changes_nothing_else() -> None:
    plain, skipping = (dict(with_skip(skip).named_parameters()) for skip in (False, True))
    added = skipping.pop("latent.weight")
    assert added.shape == (8 + 8 + 4 + 4 + 3, 3)  # to each of the four blocks, and to the output
    assert plain.keys() == skipping.keys()
    for name, weight in plain.items():
        assert torch.equal(weight, skipping[name]), name


def test_without_its_weights_a_skip_is_no_skip() -> None:
    plain, skipping, z = with_skip(False), with_skip(True), torch.randn(2, 3)
    assert not torch.allclose(skipping.logits(None, z), plain.logits(None, z), atol=0.01)
    torch.nn.init.zeros_(skipping.latent.weight)
    assert torch.equal(skipping.logits(None, z), plain.logits(None, z))


def test_z_reaches_the_pixels_by_every_skip_alone() -> None:
    decoder = with_skip(True)
    for block in (block for blocks in decoder.levels for block in blocks):  # type: ignore[attr-defined]
        torch.nn.init.normal_(block.conv2.weight)
    torch.nn.init.zeros_(decoder.input.weight)
    weight, rows = decoder.latent.weight.data.clone(), torch.arange(27).split([8, 8, 4, 4, 3])
    for i, kept in enumerate(rows):
        decoder.latent.weight.data.zero_()[kept] = weight[kept]
        first, second = decoder.logits(None, torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
        assert (first - second).abs().mean() > 0.01, i


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("kind", [MLPDecoder, ResNetDecoder])
def test_any_likelihood_and_a_checkpoint_of_it(kind: type, likelihood: object, tmp_path: object) -> None:
    size = {"hidden_dim": 8} if kind is MLPDecoder else {"channels": [4, 4]}
    decoder = kind(2, (3, 6, 5), likelihood=likelihood, skip=True, **size)
    z = torch.randn(4, 2)
    x = decoder.sample(z, generator=torch.Generator().manual_seed(0)).detach()
    assert torch.equal(decoder.sample(z, generator=torch.Generator().manual_seed(0)), x)
    assert decoder.preview(z).shape == x.shape == (4, 3, 6, 5)
    assert decoder.log_prob(x, z).isfinite().all()
    again = build(decoder.spec, Decoder)
    again.load_state_dict(decoder.state_dict())
    torch.testing.assert_close(again.log_prob(x, z), decoder.log_prob(x, z))
    model = VAE(MLPEncoder(2, (3, 6, 5), hidden_dim=8), decoder)
    assert model.elbo(x).elbo.shape == (4,)


def test_the_bernoulli_likelihood_is_the_default_and_has_no_weights() -> None:
    decoder = MLPDecoder(2, (1, 4, 4), hidden_dim=8)
    assert "likelihood" not in decoder.spec["init_args"]
    assert not any("likelihood" in name for name in decoder.state_dict())


@pytest.mark.parametrize(
    "options",
    [{"latent_dim": 0}, {"channels": []}, {"num_blocks": 0}, {"image_shape": (1, 3, 3), "channels": [4, 4, 4]}],
)
def test_arguments_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"latent_dim >= 1|do not fit"):
        ResNetDecoder(**options)  # type: ignore[arg-type]
