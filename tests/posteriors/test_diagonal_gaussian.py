import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian, standard_normal_log_prob


@given(seed=st.integers(0, 2**31), batch=st.integers(1, 5), latent_dim=st.integers(1, 8))
def test_agrees_with_torch_distributions(seed: int, batch: int, latent_dim: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mean, logvar, z = torch.randn(3, batch, latent_dim, generator=generator, dtype=torch.double) * 3
    ours, reference = DiagonalGaussian(mean, logvar), Normal(mean, (0.5 * logvar).exp())
    torch.testing.assert_close(ours.log_prob(z), reference.log_prob(z).sum(-1))
    torch.testing.assert_close(ours.kl(), kl_divergence(reference, Normal(torch.zeros_like(mean), 1.0)))
    torch.testing.assert_close(standard_normal_log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1))


def test_samples_have_the_moments_asked_for() -> None:
    torch.manual_seed(0)
    n = 200_000
    q = DiagonalGaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, -1.0]])).repeat(n)
    z, variance = q.rsample(), torch.tensor([0.5, -1.0]).exp()
    # five standard errors: of the mean sigma / sqrt(n), of the variance sigma^2 sqrt(2 / n)
    assert ((z.mean(0) - torch.tensor([1.0, -2.0])).abs() < 5 * (variance / n).sqrt()).all()
    assert ((z.var(0) - variance).abs() < 5 * variance * (2 / n) ** 0.5).all()


def test_sample_is_reparameterised_and_uses_the_noise_given() -> None:
    mean, logvar = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    noise = torch.randn(2, 3)
    z = DiagonalGaussian(mean, logvar).rsample(noise)
    torch.testing.assert_close(z, noise)
    z.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(2, 3))
    torch.testing.assert_close(logvar.grad, 0.5 * noise)


def test_repeat_is_sample_major() -> None:
    q = DiagonalGaussian(torch.arange(2.0).view(2, 1), torch.zeros(2, 1)).repeat(3)
    assert q.mean.flatten().tolist() == [0, 1, 0, 1, 0, 1]


def test_parameters_leave_half_precision() -> None:
    assert DiagonalGaussian.from_parameters(torch.zeros(1, 4, dtype=torch.bfloat16)).logvar.dtype == torch.float32
