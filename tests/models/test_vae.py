from typing import Any

import pytest
import torch

from skipvae import VAE
from skipvae.decoders import LSTMDecoder, MLPDecoder
from skipvae.encoders import LSTMEncoder, MLPEncoder
from skipvae.inference import SVI, SemiAmortized


def mlp(skip: bool = False, image_shape: tuple[int, int, int] = (1, 4, 4), **options: Any) -> VAE:
    torch.manual_seed(0)
    return VAE(
        MLPEncoder(3, image_shape, hidden_dim=16, num_layers=1),
        MLPDecoder(3, image_shape, hidden_dim=16, num_layers=2, skip=skip),
        **options,
    )


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(2)).round()


# -- what people call -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 5, 7)])
def test_shapes(image_shape: Any) -> None:
    model, batch = mlp(image_shape=image_shape), torch.zeros(6, *image_shape)
    assert model.elbo(batch).elbo.shape == (6,)
    assert model.log_likelihood(batch, num_samples=2).shape == (6,)
    assert model.sample(4).shape == (4, *image_shape)
    assert model.reconstruct(batch).shape == (6, *image_shape)
    assert model.interpolate(batch[:2], batch[2:4], steps=5).shape == (2, 5, *image_shape)
    assert model.latent_dim == 3


def test_samples_are_images_of_black_and_white(images: torch.Tensor) -> None:
    assert set(mlp().sample(50).unique().tolist()) == {0.0, 1.0}


def test_reconstructions_are_decoded_posterior_means(images: torch.Tensor) -> None:
    model = mlp()
    torch.testing.assert_close(model.reconstruct(images), model.decoder.preview(model.infer(images).mean))
    assert not model.reconstruct(images).requires_grad


def test_interpolation_ends_at_the_reconstructions_and_passes_the_midpoint(images: torch.Tensor) -> None:
    model = mlp()
    x0, x1 = images[:5], images[5:10]
    path = model.interpolate(x0, x1, steps=3)
    torch.testing.assert_close(path[:, 0], model.reconstruct(x0))
    torch.testing.assert_close(path[:, -1], model.reconstruct(x1))
    midpoint = (model.infer(x0).mean + model.infer(x1).mean) / 2
    torch.testing.assert_close(path[:, 1], model.decoder.preview(midpoint))


def test_encoder_and_decoder_must_agree_on_the_size_of_z() -> None:
    with pytest.raises(ValueError, match="encoder has latent_dim=3 and the decoder 4"):
        VAE(MLPEncoder(3, hidden_dim=8), MLPDecoder(4, hidden_dim=8))


def test_images_of_another_shape_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="images are 1 x 5 x 4 but the model was built for 1 x 4 x 4"):
        mlp().elbo(torch.zeros(2, 1, 5, 4))


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_loss_weighs_the_kl(images: torch.Tensor, beta: float) -> None:
    model = mlp()
    model.beta = beta
    terms = model.loss(images)
    torch.testing.assert_close(terms["loss"], beta * terms["kl"] - terms["reconstruction"])
    torch.testing.assert_close(terms["kl"], model.infer(images).kl().sum(1).mean())


def test_free_bits_are_free(images: torch.Tensor) -> None:
    free, without_kl = mlp(free_bits=1000.0), mlp()
    without_kl.beta = 0.0
    for model in (free, without_kl):
        torch.manual_seed(0)
        model.terms = model.loss(images)
        model.terms["loss"].backward()
    torch.testing.assert_close(free.terms["loss"], 3 * 1000.0 - free.terms["reconstruction"])
    for with_free_bits, with_none in zip(free.parameters(), without_kl.parameters(), strict=True):
        torch.testing.assert_close(with_free_bits.grad, with_none.grad)


def test_free_bits_below_the_rate_cost_nothing(images: torch.Tensor) -> None:
    plain, free = mlp(), mlp(free_bits=1e-6)
    for model in (plain, free):
        torch.manual_seed(0)
        model.terms = model.loss(images)
    torch.testing.assert_close(plain.terms["loss"], free.terms["loss"])


@pytest.mark.parametrize("skip", [False, True])
def test_it_learns(skip: bool) -> None:
    torch.manual_seed(0)
    prototypes = torch.rand(3, 1, 4, 4).round()
    batch = prototypes.repeat(20, 1, 1, 1)
    model = mlp(skip)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    @torch.no_grad()
    def mean_elbo() -> torch.Tensor:
        return model.elbo(batch).elbo.mean()

    before = mean_elbo()
    for _ in range(100):
        optimizer.zero_grad()
        model.loss(batch)["loss"].backward()
        optimizer.step()
    # The untrained model pays 16 log 2 = 11.1 nats and more; knowing which prototype it is costs log 3 = 1.1.
    assert before < -10
    assert mean_elbo() > -4


def test_a_skip_vae_is_a_vae_with_skips_and_nothing_else(images: torch.Tensor) -> None:
    plain, skip = mlp(skip=False), mlp(skip=True)
    shapes = {name: p.shape for name, p in plain.named_parameters()}
    with_skip = {name: p.shape for name, p in skip.named_parameters()}
    assert shapes.items() <= with_skip.items()
    extra = with_skip.keys() - shapes.keys()
    assert extra == {f"decoder.hidden.{layer}.latent.{part}" for layer in (0, 1) for part in ("weight", "bias")}
    spec, skip_spec = plain.spec, skip.spec
    assert spec["init_args"]["decoder"]["init_args"].pop("skip") is False
    assert skip_spec["init_args"]["decoder"]["init_args"].pop("skip") is True
    assert spec == skip_spec


@torch.no_grad()
def test_without_weights_in_the_skips_a_skip_vae_computes_what_the_vae_does(images: torch.Tensor) -> None:
    plain, skip = mlp(skip=False), mlp(skip=True)
    skip.load_state_dict(plain.state_dict(), strict=False)
    for name, parameter in skip.named_parameters():
        if ".latent." in name:
            parameter.zero_()
    z = torch.randn(len(images), 3)
    torch.testing.assert_close(skip.decoder(images, z), plain.decoder(images, z))


@pytest.mark.parametrize("skip", [False, True])
def test_every_parameter_is_used(images: torch.Tensor, skip: bool) -> None:
    model = mlp(skip)
    model.loss(images)["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


# -- evaluation -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_evaluation_ignores_the_weight_of_training(images: torch.Tensor) -> None:
    results = []
    for beta, free_bits in [(1.0, 0.0), (0.0, 0.0), (0.3, 5.0)]:
        model = mlp(free_bits=free_bits)
        model.beta = beta
        torch.manual_seed(0)
        for batch in images.split(7):
            model.validation_step((batch, torch.zeros(len(batch))), 0)
        results.append(model.evaluation.compute())
    assert results[0] == results[1] == results[2]
    assert results[0]["elbo"] == pytest.approx(results[0]["reconstruction"] - results[0]["kl"])
    assert results[0]["kl"] == pytest.approx(model.infer(images).kl().sum(1).mean().item(), rel=1e-6)
    assert results[0]["kl"] == pytest.approx(sum(results[0]["kl_per_dim"]))
    assert results[0]["num_examples"] == len(images)
    assert "nll" not in results[0]


@torch.no_grad()
def test_a_test_without_importance_samples_has_no_likelihood(images: torch.Tensor) -> None:
    model = mlp(num_importance_samples=0)
    model.test_step((images, torch.zeros(20)), 0)
    assert "nll" not in model.evaluation.compute()


@torch.no_grad()
def test_predictions_are_posteriors(images: torch.Tensor) -> None:
    model, label, identity = mlp(), torch.arange(20) % 3, torch.arange(20)
    found = model.predict_step((images, label, identity), 0)
    posterior = model.infer(images)
    assert torch.equal(found["mean"], posterior.mean)
    assert torch.equal(found["logvar"], posterior.logvar)
    assert found["label"] is label
    assert found["id"] is identity


def test_labels_are_compared_in_tests_only(images: torch.Tensor) -> None:
    model = mlp(num_importance_samples=0)
    labels = (images.sum((1, 2, 3)) > 8).long()
    model.evaluation.reset()
    model.validation_step((images, labels), 0)
    assert "nmi" not in model.evaluation.compute()
    model.test_step((images, labels), 0)
    assert {"nmi", "ari"} <= model.evaluation.compute().keys()  # without a trainer there is no training split
    model.evaluation.reset()
    model.test_step((images, torch.full_like(labels, -1)), 0)
    assert "nmi" not in model.evaluation.compute()


# -- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"free_bits": 0.1, "inference": SVI()}, "leave it out"),
        ({"free_bits": 0.1, "inference": SemiAmortized(gradient="none")}, "leave it out"),
        ({"num_importance_samples": -5}, "give 0 for none"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any], fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        mlp(**options)


def test_free_bits_go_with_gradients_through_the_steps() -> None:
    assert mlp(free_bits=0.1, inference=SemiAmortized()).free_bits == 0.1


def test_a_vae_without_z_is_refused() -> None:
    sizes = {"vocab_size": 8, "embedding_dim": 2, "hidden_dim": 2}
    with pytest.raises(ValueError, match=r"take skipvae\.Autoregressive"):
        VAE(LSTMEncoder(0, **sizes), LSTMDecoder(0, **sizes))


def test_an_encoder_that_is_not_used_takes_no_room_in_a_checkpoint() -> None:
    decoder = MLPDecoder(3, (1, 4, 4), hidden_dim=4)
    model = VAE(MLPEncoder(3, (1, 4, 4), hidden_dim=4000), decoder, SVI(num_steps=2))
    assert model.spec["init_args"]["encoder"] is None
    assert model.inference.uses_encoder is False
