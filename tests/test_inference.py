import math

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.parallel import DistributedDataParallel

from skipvae import VAE
from skipvae.decoders import Decoder, GatedPixelCNNDecoder, LSTMDecoder, MLPDecoder
from skipvae.encoders import Encoder, LSTMEncoder, MLPEncoder
from skipvae.inference import SVI, Amortized, SemiAmortized, divergence
from skipvae.posterior import DiagonalGaussian
from skipvae.score import LogLikelihood
from tests import command_line
from tests.callbacks.tiny import read_events
from tests.linear_gaussian import LinearGaussianDecoder, LinearGaussianEncoder

THROUGH = ["exact", "finite_difference"]
GRADIENTS = [*THROUGH, "none"]


def ppca(inference, shift: float = 0.5, widen: float = 0.7, n: int = 30) -> tuple[VAE, torch.Tensor]:
    torch.manual_seed(1)
    decoder = LinearGaussianDecoder()
    model = VAE(LinearGaussianEncoder(decoder, shift, widen), decoder, inference)
    with torch.no_grad():
        return model, decoder.sample(torch.randn(n, 2, dtype=torch.double))


def mlp(inference, skip: bool = True, seed: int = 0) -> VAE:
    torch.manual_seed(seed)
    return VAE(
        MLPEncoder(3, (1, 4, 4), hidden_dim=16, num_layers=1),
        MLPDecoder(3, (1, 4, 4), hidden_dim=16, num_layers=2, skip=skip),
        inference,
    )


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(2)).round()


@pytest.fixture
def sentences() -> torch.Tensor:
    words = torch.randint(4, 12, (6, 7), generator=torch.Generator().manual_seed(2))
    words[:, 0], words[:, -1] = 2, 3
    return words


def gradients(model: VAE, x: torch.Tensor, seed: int = 3) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(seed)
    model.loss(x)["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def relative_error(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    """The largest error of any parameter's gradient, relative to its norm."""
    return max(float((found[name] - wanted[name]).norm() / wanted[name].norm()) for name in wanted)


class Normals(Encoder):
    """Free parameters in place of an encoder."""

    def __init__(self, mean: torch.Tensor, logvar: torch.Tensor) -> None:
        super().__init__()
        self.latent_dim, self.mean, self.logvar = mean.shape[-1], mean, logvar

    def forward(self, x: torch.Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean, self.logvar)


class Smooth(Decoder):
    """x ~ N(tanh(W z), 1 / 16), infinitely differentiable."""

    skip, latent_dim = False, 2

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = weight

    def log_prob(self, x, z):
        return -8 * (x - torch.tanh(z @ self.weight)).square().sum(-1)

    def sample(self, z, **options):
        return torch.tanh(z @ self.weight)


# -- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_refinement_converges_to_the_exact_posterior(gradient, beta):
    model, x = ppca(SemiAmortized(num_steps=int(120 / beta), gradient=gradient))
    found, decoder = model.infer(x, beta), model.decoder
    information = decoder.weight.square().sum(0) / decoder.noise**2
    variance = beta / (information + beta)  # of the optimum of the reconstruction less beta times the KL
    mean = (x - decoder.bias) @ decoder.weight / decoder.noise**2 / (information + beta)
    torch.testing.assert_close(found.logvar, variance.log().expand_as(mean), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.mean, mean, atol=1e-5, rtol=0)
    if beta == 1:
        torch.testing.assert_close(found.mean, decoder.posterior(x).mean, atol=1e-5, rtol=0)


def test_twenty_steps_close_almost_all_of_the_gap():
    for inference in (SemiAmortized(), SVI()):
        model, x = ppca(inference, n=500)
        exact = model.decoder.posterior(x)
        after = divergence(model.infer(x), exact).mean()
        assert after < 0.02 * divergence(DiagonalGaussian(0 * exact.mean, 0 * exact.mean), exact).mean()
        assert after < 0.02 * divergence(LinearGaussianEncoder(model.decoder, 0.5, 0.7)(x), exact).mean()


def test_svi_converges_to_the_exact_posterior_without_an_encoder():
    model, x = ppca(SVI(num_steps=150))
    assert model.encoder is None
    found, exact = model.infer(x), model.decoder.posterior(x)
    torch.testing.assert_close(found.mean, exact.mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.logvar, exact.logvar, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_amortization_gap_is_the_divergence_that_the_steps_close():
    model, x = ppca(SemiAmortized(num_steps=100), n=4000)
    initial, exact = model.encoder(x), model.decoder.posterior(x)
    inferred = model._inferred(x)
    model.validation_step((x,), 0)
    results = model.evaluation.compute()
    gain = inferred.elbo_per_step[:, -1] - inferred.elbo_per_step[:, 0]
    error = gain.std() / len(x) ** 0.5  # each end by its own sample
    assert abs(results["amortization_gap"] - divergence(initial, exact).mean()) < 5 * error
    assert len(results["elbo_per_step"]) == 101
    assert results["elbo_per_step"][-1] == pytest.approx(
        model.decoder.log_likelihood(x).mean().item(), abs=5 * float(error)
    )
    assert results["diverged"] == 0


def test_divergence():
    torch.manual_seed(0)
    q, p = (DiagonalGaussian(torch.randn(5, 3), torch.randn(5, 3)) for _ in range(2))
    expected = kl_divergence(Normal(q.mean, (q.logvar / 2).exp()), Normal(p.mean, (p.logvar / 2).exp())).sum(-1)
    torch.testing.assert_close(divergence(q, p), expected)


# -- gradients through the steps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_grad_norm", [5.0, 0.1])  # clipping off and on
def test_exact_gradients_by_gradcheck(max_grad_norm):
    torch.manual_seed(0)
    x = torch.rand(3, 4, dtype=torch.double) - 0.5
    mean, logvar = torch.randn(3, 2, dtype=torch.double), torch.randn(3, 2, dtype=torch.double) - 1
    weight = torch.randn(2, 4, dtype=torch.double)
    inference = SemiAmortized(num_steps=4, max_grad_norm=max_grad_norm, gradient="exact")

    def refined(mean, logvar, weight):
        torch.manual_seed(1)
        posterior = inference(Normals(mean, logvar), Smooth(weight), x).posterior
        return posterior.mean, posterior.logvar

    assert torch.autograd.gradcheck(refined, [t.requires_grad_() for t in (mean, logvar, weight)])


@pytest.mark.parametrize("max_grad_norm", [5.0, 0.1])
def test_finite_differences_agree_with_exact_gradients(max_grad_norm):
    torch.manual_seed(0)
    x = torch.rand(3, 4, dtype=torch.double) - 0.5
    weight = nn.Parameter(torch.randn(2, 4, dtype=torch.double))
    encoder = Normals(*(nn.Parameter(torch.randn(3, 2, dtype=torch.double)) for _ in range(2)))
    found = [
        gradients(VAE(encoder, Smooth(weight), SemiAmortized(5, max_grad_norm=max_grad_norm, gradient=gradient)), x)
        for gradient in THROUGH
    ]
    assert relative_error(found[1], found[0]) < 1e-8


def test_in_float32_finite_differences_agree_within_a_thousandth():
    torch.manual_seed(0)
    x = torch.rand(3, 4) - 0.5
    weight = nn.Parameter(torch.randn(2, 4))
    encoder = Normals(nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(3, 2)))
    found = [gradients(VAE(encoder, Smooth(weight), SemiAmortized(gradient=gradient)), x) for gradient in THROUGH]
    assert relative_error(found[1], found[0]) < 1e-3


def pixelcnn(inference) -> VAE:
    torch.manual_seed(0)
    decoder = GatedPixelCNNDecoder(3, (1, 4, 4), channels=4, num_layers=2, skip=True)
    return VAE(MLPEncoder(3, (1, 4, 4), hidden_dim=16), decoder, inference)


def lstm(inference) -> VAE:
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "embedding_dim": 8, "hidden_dim": 8}
    decoder = LSTMDecoder(3, **sizes, dropout=0.3, word_dropout=0.3, skip=True, init_range=0.5)
    return VAE(LSTMEncoder(3, **sizes), decoder, inference)


@pytest.mark.parametrize("make", [mlp, pixelcnn, lstm])
def test_every_decoder_and_its_dropout(make, images, sentences):
    x = sentences if make is lstm else images.double()
    found = [gradients(make(SemiAmortized(5, gradient=gradient)).double(), x) for gradient in THROUGH]
    assert relative_error(found[1], found[0]) < 1e-5
    nothing_through = gradients(make(SemiAmortized(5, gradient="none")).double(), x)
    assert relative_error(nothing_through, found[0]) > 0.01


# -- other ways to train the encoder ----------------------------------------------------------------------------------


def test_an_encoder_trained_on_its_own_elbo_is_at_rest_at_the_exact_posterior():
    torch.manual_seed(0)
    decoder = LinearGaussianDecoder()
    x = decoder.sample(torch.randn(6, 2, dtype=torch.double)).detach()
    exact = decoder.posterior(x).detach()

    def slopes(shift):
        encoder = Normals(nn.Parameter(exact.mean + shift), nn.Parameter(exact.logvar.clone()))
        return gradients(VAE(encoder, decoder, SemiAmortized(3, gradient="none")), x)

    at_rest, shifted = slopes(0.0), slopes(0.3)
    assert at_rest["encoder.mean"].abs().max() < 1e-12
    assert at_rest["encoder.logvar"].abs().max() < 1e-12
    precision = (-exact.logvar).exp()  # the Hessian of the Gaussian's ELBO, and so the slope at 0.3 without noise
    torch.testing.assert_close(shifted["encoder.mean"], 0.3 * precision / len(x))


def test_an_encoder_trained_towards_the_refined_posterior():
    model, x = ppca(SemiAmortized(5, gradient="none", encoder_loss="kl"))
    q = model.encoder(x)
    encoder = Normals(nn.Parameter(q.mean.detach()), nn.Parameter(q.logvar.detach()))
    found = gradients(VAE(encoder, model.decoder, model.inference), x)
    torch.manual_seed(3)
    target, initial = model.infer(x).detach(), DiagonalGaussian(encoder.mean, encoder.logvar)
    wanted = torch.autograd.grad(divergence(target, initial).mean(), [encoder.mean, encoder.logvar])
    torch.testing.assert_close(found["encoder.mean"], wanted[0])
    torch.testing.assert_close(found["encoder.logvar"], wanted[1])


def test_how_the_encoder_is_trained_changes_neither_the_loss_nor_the_decoder(images):
    elbo, kl = (mlp(SemiAmortized(3, gradient="none", encoder_loss=loss)) for loss in ("elbo", "kl"))
    found, wanted = gradients(elbo, images), gradients(kl, images)
    for name in found:
        assert torch.equal(found[name], wanted[name]) == name.startswith("decoder")
    losses = []
    for model in (elbo, kl):
        torch.manual_seed(3)
        terms = model.loss(images)
        torch.testing.assert_close(terms["loss"], terms["kl"] - terms["reconstruction"])
        losses.append(terms["loss"])
    assert losses[0] == losses[1]


# -- where it runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("make", [mlp, lstm])
def test_infer_is_the_same_where_autograd_is_off(mode, make, images, sentences):
    x = sentences if make is lstm else images
    model = make(SemiAmortized(4)).eval()

    def infer():
        torch.manual_seed(0)
        return model.infer(x.clone()).mean

    expected = infer()
    with mode():
        found = infer()
        assert not found.requires_grad
        assert model.log_likelihood(x.clone(), 3).isfinite().all()
        model.test_step((x.clone(),), 0)
        model.predict_step((x.clone(), x, x), 0)
    torch.testing.assert_close(found, expected)
    assert model.evaluation.compute()["amortization_gap"] > 0


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("make", [mlp, lstm])
def test_bfloat16(gradient, make, images, sentences):
    x = sentences if make is lstm else images
    model = make(SemiAmortized(3, gradient=gradient))
    expected = gradients(model, x)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        model.decoder(x, torch.zeros(len(x), 3))  # leaves weights of inference mode in autocast's cache
        assert model.infer(x).mean.dtype == torch.float32
    model.zero_grad()
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(x)["loss"]
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    if make is lstm or gradient != "finite_difference":  # which would also see the kinks of the MLP
        assert relative_error(found, expected) < 0.2  # a weight of bfloat16 is off by up to 1/256
    assert all(p.grad.dtype == torch.float32 and p.grad.abs().sum() > 0 for p in model.parameters())


def test_dropout_is_held_fixed_and_random_numbers_outside_go_on():
    torch.manual_seed(0)
    decoder = lstm(Amortized()).decoder
    x, z = torch.tensor([[2, 5, 6, 7, 3]]), torch.zeros(1, 3)
    held = LogLikelihood(decoder.requires_grad_(False), x)
    before = torch.get_rng_state()
    assert held(z) == held(z) == held(z)
    assert torch.equal(torch.get_rng_state(), before)
    assert len({float(LogLikelihood(decoder, x)(z)) for _ in range(5)}) > 1
    decoder.eval()
    assert len({float(LogLikelihood(decoder, x)(z)) for _ in range(5)}) == 1


def test_an_example_does_not_depend_on_its_batch(images):
    model = mlp(SemiAmortized(4, max_grad_norm=0.5))
    results = []
    for rest in (images[1:5], images[6:10]):
        torch.manual_seed(0)
        results.append(model.infer(torch.cat([images[:1], rest])).mean[0])
    torch.testing.assert_close(*results)


def train_in_a_process(rank: int, gradient: str, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2)
    model = mlp(SemiAmortized(3, gradient=gradient))
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(rank)).round()
    model.forward = lambda x: model.loss(x)["loss"]
    parallel = DistributedDataParallel(model)
    for step in range(2):  # DDP complains of unused parameters in the second
        parallel.zero_grad()
        torch.manual_seed(10 * step + rank)
        parallel(x).backward()
    torch.save([p.grad for p in model.parameters()], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_two_processes_average_their_gradients(gradient, tmp_path):
    mp.start_processes(train_in_a_process, (gradient, str(tmp_path)), nprocs=2, start_method="fork")
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    model, alone = mlp(SemiAmortized(3, gradient=gradient)), []
    for rank in range(2):
        x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(rank)).round()
        alone.append(gradients(model, x, seed=10 + rank).values())
    for first, second, a, b in zip(*found, *alone, strict=True):
        torch.testing.assert_close(first, second)
        torch.testing.assert_close(first, (a + b) / 2)


# -- divergence -------------------------------------------------------------------------------------------------------


class Cliff(LinearGaussianDecoder):
    """No number at all where z goes beyond a cliff, for the first two examples."""

    def log_prob(self, x, z):
        over = (z[:, 0] > 0) & (torch.arange(len(z)) < 2)
        return torch.where(over, torch.nan, super().log_prob(x, z))


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_diverged_examples_fall_back_to_their_best_step_and_are_counted(gradient):
    decoder, cliff = LinearGaussianDecoder(), Cliff()
    x = (decoder.bias + 4 * decoder.weight[:, 0]).detach().expand(5, -1)  # the way to its posterior leads over the edge
    start = Normals(torch.full((5, 2), -3.0, dtype=torch.double), torch.full((5, 2), -1.0, dtype=torch.double))
    inference = SemiAmortized(20, gradient=gradient)
    torch.manual_seed(0)
    found = inference(start, cliff, x)
    torch.manual_seed(0)
    plain = inference(start, decoder, x)
    assert found.diverged.tolist() == [True, True, False, False, False]
    assert found.elbo_per_step.isfinite().all()
    assert (found.posterior.mean[:2, 0] < 0).all()
    assert (found.posterior.mean[:2, 0] > -2.9).all()  # better than the start
    assert (found.elbo_per_step[:2, -1] > found.elbo_per_step[:2, 0]).all()
    assert torch.equal(found.elbo_per_step[:2, -1], found.elbo_per_step[:2].amax(1))
    torch.testing.assert_close(found.posterior.mean[2:], plain.posterior.mean[2:])
    model = VAE(start, cliff, inference)
    model.validation_step((x,), 0)
    results = model.evaluation.compute()
    assert results["diverged"] == 2
    assert math.isfinite(results["amortization_gap"])


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_steps_that_are_far_too_long_leave_finite_gradients(gradient, images):
    model = mlp(SemiAmortized(10, learning_rate=1e4, max_grad_norm=1e4, gradient=gradient))
    assert all(gradient.isfinite().all() for gradient in gradients(model, images).values())
    assert model.loss(images)["diverged"] > 0


@pytest.mark.parametrize(("mean", "logvar"), [(25.0, 0.0), (0.0, -21.0), (-30.0, -150.0)])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_start_far_out_is_taken_as_it_is(gradient, mean, logvar):
    decoder = LinearGaussianDecoder()
    x = decoder.bias.detach().expand(3, -1)
    start = Normals(*(nn.Parameter(torch.full((3, 2), v, dtype=torch.double)) for v in (mean, logvar)))
    model = VAE(start, decoder, SemiAmortized(3, gradient=gradient))
    model.validation_step((x,), 0)
    assert math.isfinite(model.evaluation.compute()["amortization_gap"])
    assert all(gradient.isfinite().all() for gradient in gradients(model, x).values())


def test_a_broken_encoder_is_not_covered_up(images):
    model = mlp(SemiAmortized(3))
    with torch.no_grad():
        next(model.encoder.parameters()).fill_(torch.nan)
    assert model.loss(images)["loss"].isnan()


# -- settings ---------------------------------------------------------------------------------------------------------


class NoSecondDerivative(MLPDecoder):
    def twice_differentiable(self, device):
        return False


def test_the_automatic_gradient_is_what_works_and_is_said(monkeypatch):
    said = list[str]()
    monkeypatch.setattr("skipvae.models.vae.rank_zero_info", said.append)
    mlp(SemiAmortized()).on_fit_start()
    mlp(Amortized()).on_fit_start()
    assert said == ["semi-amortised inference: gradient=auto is exact here"]
    device = torch.device("cpu")
    plain, once = (kind(3, (1, 4, 4), hidden_dim=8) for kind in (MLPDecoder, NoSecondDerivative))
    assert SemiAmortized().check(plain, device) == "semi-amortised inference: gradient=auto is exact here"
    words = LSTMDecoder(2, vocab_size=6, embedding_dim=2, hidden_dim=2)
    found = SemiAmortized().check(words, torch.device("cpu"))
    assert found == "semi-amortised inference: gradient=auto is finite_difference here"
    assert SemiAmortized(gradient="exact").check(words, torch.device("cpu")) is None
    assert "finite_difference" in SemiAmortized().check(once, device)
    assert SemiAmortized(gradient="finite_difference").check(once, device) is None
    exact = SemiAmortized(gradient="exact")
    with pytest.raises(ValueError, match="set the inference's gradient to finite_difference"):
        exact.check(once, device)
    with pytest.raises(ValueError, match="set the inference's gradient to finite_difference"):
        VAE(MLPEncoder(3, (1, 4, 4), hidden_dim=8), once, exact).on_fit_start()


def test_cudnn_has_no_second_derivative_of_an_lstm():
    decoder = lstm(Amortized()).decoder
    assert decoder.twice_differentiable(torch.device("cpu"))
    assert not decoder.twice_differentiable(torch.device("cuda"))
    with torch.backends.cudnn.flags(enabled=False):
        assert decoder.twice_differentiable(torch.device("cuda"))
    assert pixelcnn(Amortized()).decoder.twice_differentiable(torch.device("cuda"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0: take at least 1, or skipvae.inference.Amortized"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 and max_grad_norm=5.0 must be positive"),
        ({"momentum": 1.0}, "momentum=1.0 at least 0 and below 1"),
        ({"gradient": "approximate"}, "gradient is 'approximate': choose from auto, exact"),
        ({"encoder_loss": "mse"}, "encoder_loss is 'mse': choose from elbo, kl"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        SemiAmortized(**settings)


def test_an_encoder_is_there_where_it_is_needed_and_only_there(images):
    with pytest.raises(ValueError, match=r"SemiAmortized needs an encoder; without one, take skipvae\.inference\.SVI"):
        VAE(None, MLPDecoder(3, (1, 4, 4), hidden_dim=8), SemiAmortized())
    model = mlp(SVI(num_steps=3))
    assert not any(name.startswith("encoder") for name in model.state_dict())
    gradients(model, images)  # checks that every parameter is used


# -- by the command line ----------------------------------------------------------------------------------------------


def test_a_skip_sa_vae_by_overrides_of_the_same_file(workspace, capsys):
    inference = ("--model.inference=skipvae.inference.SemiAmortized", "--model.inference.num_steps=5")
    trainer = command_line.run(
        ["fit", *command_line.TINY, "--trainer.max_epochs=2", "--model.decoder.skip=true", *inference]
    ).trainer
    assert trainer.callback_metrics["val/amortization_gap"] > 0
    assert trainer.callback_metrics["val/diverged"] == 0
    events = read_events(command_line.RUN)
    assert "latents/elbo_per_step" in events.Tags()["images"]
    checkpoint = command_line.RUN / "checkpoints" / "last.ckpt"
    model = VAE.load_from_checkpoint(checkpoint)
    assert model.decoder.skip
    assert model.inference.spec["init_args"]["num_steps"] == 5
    again = command_line.plain(["test", f"--ckpt_path={checkpoint}", "--trainer.enable_progress_bar=false"])
    assert again.model.inference.num_steps == 5
    results = again.model.results
    assert len(results["elbo_per_step"]) == 6
    assert results["amortization_gap"] == results["elbo_per_step"][-1] - results["elbo_per_step"][0]
    assert "amortization_gap" in capsys.readouterr().out
    x = torch.rand(8, 1, 28, 28).round()
    assert command_line.log_likelihood(model, x) == command_line.log_likelihood(again.model.eval(), x)


def test_svi_by_an_override_of_the_same_file(workspace):
    command_line.fit("--model.inference=skipvae.inference.SVI", "--model.inference.num_steps=3")
    model = VAE.load_from_checkpoint(command_line.RUN / "checkpoints" / "last.ckpt")
    assert model.encoder is None
    assert model.infer(torch.zeros(2, 1, 28, 28)).mean.shape == (2, 3)


# -- on a GPU ---------------------------------------------------------------------------------------------------------

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
def test_on_a_gpu_an_lstm_takes_finite_differences_and_they_are_right(sentences):
    x, model = sentences.cuda(), lstm(SemiAmortized(5)).double().cuda()
    assert "finite_difference" in model.inference.check(model.decoder, model.device)
    found = gradients(model, x)
    model.inference.gradient = "exact"
    with pytest.raises(ValueError, match="set the inference's gradient to finite_difference"):
        model.loss(x)
    with torch.backends.cudnn.flags(enabled=False):
        assert relative_error(found, gradients(model, x)) < 1e-5
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
        assert model.float().eval().infer(x).mean.isfinite().all()


@needs_gpu
@pytest.mark.parametrize("make", [mlp, pixelcnn])
def test_on_a_gpu_exact_gradients_are_those_of_the_cpu(make, images):
    inference = SemiAmortized(5, gradient="exact")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("torch.randn_like", lambda like: torch.randn(like.shape).to(like))
        found = gradients(make(inference).double().cuda(), images.double().cuda())
        wanted = gradients(make(inference).double(), images.double())
    assert relative_error({name: value.cpu() for name, value in found.items()}, wanted) < 1e-9


@needs_gpu
def test_on_a_gpu_no_step_waits_for_the_device(images):
    x, model = images.cuda(), mlp(SemiAmortized(3)).cuda()
    gradients(model, x)
    model.zero_grad()
    torch.cuda.set_sync_debug_mode("error")
    try:
        model.loss(x)["loss"].backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
