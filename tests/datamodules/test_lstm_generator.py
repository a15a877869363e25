"""The generator against sums over all sentences that it can write, and against the definition of an LSTM."""

import pytest
import torch
from torch import nn

from datamodules.lstm_generator import MEANS, WIDTH, LSTMGenerator

SMALL = LSTMGenerator(num_words=5, length=3, embedding_dim=4, hidden_dim=6, output_range=2.0)
ALL = torch.cartesian_prod(*[torch.arange(5)] * 3)
"""The 125 sentences of the small generator."""


def test_it_is_the_lstm_of_the_textbooks() -> None:
    weights = SMALL._weights
    lstm = nn.LSTM(4 + 2, 6, batch_first=True).double()
    table = SMALL._uniform(0, 6, 4)
    lstm.weight_ih_l0.data = torch.cat([SMALL._uniform(2, 4, 24), weights.latent]).T
    lstm.weight_hh_l0.data, lstm.bias_ih_l0.data = weights.recurrent.T, weights.bias
    lstm.bias_hh_l0.data.zero_()
    z = torch.tensor([0.3, -1.2], dtype=torch.double)
    inputs = torch.cat([table[torch.tensor([5, 1, 4])], z.expand(3, 2)], 1).unsqueeze(0)
    hidden, _ = lstm(inputs, ((z @ weights.initial).tanh().view(1, 1, 6), torch.zeros(1, 1, 6).double()))
    log_probs = (hidden[0] @ weights.output).log_softmax(-1)
    expected = log_probs[torch.arange(3), torch.tensor([1, 4, 2])].sum()
    torch.testing.assert_close(SMALL.log_prob(torch.tensor([[1, 4, 2]]), z.unsqueeze(0))[0], expected)


def test_probabilities_of_all_sentences_sum_to_one() -> None:
    z = torch.randn(7, 2, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    log_prob = SMALL.log_prob(ALL.repeat(7, 1), z.repeat_interleave(125, 0)).view(7, 125)
    torch.testing.assert_close(log_prob.logsumexp(1), torch.zeros(7).double(), atol=1e-12, rtol=0)
    truth = SMALL.truth(ALL)
    assert float(truth.log_likelihood.logsumexp(0)) == pytest.approx(0, abs=1e-5)


def test_sentences_follow_their_probabilities() -> None:
    n = 20_000
    words = SMALL.draw(n).words
    counts = torch.bincount(words @ torch.tensor([25, 5, 1]), minlength=125)
    p = SMALL.truth(ALL).log_likelihood.exp()
    error = (counts / n - p) / (p * (1 - p) / n).sqrt()
    assert error.abs().max() < 5
    assert error.square().mean() == pytest.approx(1, abs=0.5)


def test_each_sentence_fits_its_own_z() -> None:
    words, z, component = SMALL.draw(20_000)
    own, other = SMALL.log_prob(words, z).mean(), SMALL.log_prob(words, z.roll(1, 0)).mean()
    assert own > other + 0.1
    assert ((z - MEANS[component]).std(0) / WIDTH - 1).abs().max() < 5 / 40_000**0.5
    assert (torch.bincount(component) / 20_000 - 0.25).abs().max() < 5 * (0.1875 / 20_000) ** 0.5


def test_the_prior_is_a_density() -> None:
    axis = torch.linspace(-6, 6, 241, dtype=torch.double)
    mass = SMALL.log_prior(torch.cartesian_prod(axis, axis)).exp().sum() * 0.05**2
    assert float(mass) == pytest.approx(1, abs=1e-9)


def test_information_is_the_gap_between_likelihoods() -> None:
    """E[KL(p(z|x) || p(z))] = E[log p(x|z) - log p(x)] over pairs, and the exact sum over all sentences."""
    words, z, _ = SMALL.draw(20_000)
    rows = words @ torch.tensor([25, 5, 1])
    truth = SMALL.truth(ALL)
    exact = float((truth.log_likelihood.exp() * truth.information).sum())
    pairs = SMALL.log_prob(words, z) - truth.log_likelihood[rows]
    for estimate in (pairs, truth.information[rows]):
        assert abs(float(estimate.mean()) - exact) < 4 * float(estimate.std()) / 20_000**0.5
    assert truth.information[rows].std() < pairs.std()  # z is integrated out


def test_a_finer_mesh_changes_nothing() -> None:
    generator = LSTMGenerator(num_words=50, hidden_dim=16, output_range=2.0)
    words = generator.draw(4).words
    expected = generator.truth(words, num_cells=120, mesh=1)
    for num_cells, mesh, tolerance in [(24, 3, 2e-3), (48, 3, 1e-4)]:
        found = generator.truth(words, num_cells, mesh)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=tolerance, rtol=0)


def test_sentences_depend_on_seed_and_counters_alone() -> None:
    few, many = SMALL.draw(10, 1), SMALL.draw(9000, 1)
    assert all(part.equal(whole[:10]) for part, whole in zip(few, many, strict=True))
    assert not SMALL.draw(10, 2).words.equal(few.words)
    assert not LSTMGenerator(5, 3, 4, 6, 2.0, seed=1).draw(10, 1).words.equal(few.words)
