import math
from typing import Any

import pytest
import torch
from torch.distributions import MultivariateNormal

from datamodules import LinearGaussianDataModule, LSTMCorpusDataModule
from datamodules.lstm_generator import LSTMGenerator
from skipvae.metrics import mutual_information
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


def linear(**options: Any) -> LinearGaussianDataModule:
    data = LinearGaussianDataModule(**{"sizes": (4000, 50, 3000), "noise": 0.7, **options})
    data.setup()
    return data


def dense(data: LinearGaussianDataModule) -> MultivariateNormal:
    covariance = data.weight @ data.weight.T + data.noise**2 * torch.eye(len(data.mean))
    return MultivariateNormal(data.mean, covariance)


def test_examples_have_the_mean_and_covariance() -> None:
    data = linear(sizes=(40_000, 5, 5))
    x = data.splits.train.images.double().flatten(1)
    n, expected = len(x), dense(data).covariance_matrix
    assert ((x.mean(0) - data.mean) / (expected.diagonal() / n).sqrt()).abs().max() < 5
    spread = ((expected.square() + torch.outer(expected.diagonal(), expected.diagonal())) / n).sqrt()
    assert ((x.T.cov() - expected) / spread).abs().max() < 5  # Isserlis: the variance of a sample covariance


def test_log_likelihood_is_that_of_the_dense_gaussian() -> None:
    data = linear()
    x = data.splits.val.images
    torch.testing.assert_close(data.log_likelihood(x), dense(data).log_prob(x.double().flatten(1)))


def test_posterior_is_that_of_the_joint_gaussian() -> None:
    data = linear(signal_to_noise=[4.0, 0.5, 0.0])
    x = data.splits.val.images
    gain = torch.linalg.solve(dense(data).covariance_matrix, data.weight).T  # (K, D)
    mean, variance = data.posterior(x)
    torch.testing.assert_close(mean, (x.double().flatten(1) - data.mean) @ gain.T)
    torch.testing.assert_close(torch.diag_embed(variance)[0], torch.eye(3).double() - gain @ data.weight)


def test_mutual_information_is_the_log_determinant() -> None:
    data = linear(signal_to_noise=[4.0, 0.5, 0.0, 9.0])
    covariance = torch.eye(len(data.mean)) + data.weight @ data.weight.T / data.noise**2
    assert data.mutual_information == pytest.approx(0.5 * float(torch.logdet(covariance)))
    assert data.truth["nll"] == pytest.approx(-float(data.log_likelihood(data.splits.test.images).mean()))


def test_the_estimator_finds_it_with_the_exact_posterior() -> None:
    data = linear()
    mean, variance = data.posterior(data.splits.test.images)
    z = DiagonalGaussian(mean, variance.log()).rsample(
        torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    )
    estimate = mutual_information(mean, variance.log(), z)
    # the finite mixture counts the own component of each sample: a bias of order exp(I) / N, downwards
    bias = float((1 + data.signal_to_noise).sqrt().prod()) / len(z)
    assert abs(estimate.mi - data.mutual_information) < 4 * estimate.stderr + bias
    assert estimate.stderr < 0.05


def test_labels_are_quadrants_of_the_strongest_latents() -> None:
    data = linear(signal_to_noise=[1e4, 1e4, 1.0])
    x, label = data.splits.test
    mean, _ = data.posterior(x)
    assert ((mean[:, :2] > 0).long() @ torch.tensor([1, 2]) == label).double().mean() > 0.98
    assert linear(signal_to_noise=[1.0]).splits.test.labels.unique().tolist() == [0, 1]


def test_batches_are_the_examples_as_they_are() -> None:
    data = linear(image_shape=[2, 1, 3], signal_to_noise=[1.0], batch_size=20)
    image, label = next(iter(data.train_dataloader()))
    assert (image.shape, image.dtype, label.dtype) == ((20, 2, 1, 3), torch.float32, torch.int64)
    images, _, ids = map(torch.cat, zip(*data.predict_dataloader(), strict=True))
    assert images[ids.argsort()].equal(data.splits.test.images)
    assert images.min() < 0


def test_examples_depend_on_the_data_seed_alone() -> None:
    one, other, third = linear(seed=1), linear(seed=2), linear(data_seed=3)
    assert one.splits.train.images.equal(other.splits.train.images)
    assert one.truth == other.truth
    assert not next(iter(one.train_dataloader()))[0].equal(next(iter(other.train_dataloader()))[0])
    assert not one.splits.train.images.equal(third.splits.train.images)
    assert not one.splits.train.images[:50].equal(one.splits.val.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signal_to_noise": []}, "signal_to_noise"),
        ({"signal_to_noise": [-1.0]}, "signal_to_noise"),
        ({"signal_to_noise": [1.0] * 17}, "1..16"),
        ({"noise": 0.0}, "noise=0.0"),
        ({"sizes": (10, 10)}, "three numbers"),
    ],
)
def test_arguments_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        linear(**options)


def sentences(**options: Any) -> LSTMCorpusDataModule:
    data = LSTMCorpusDataModule(
        **{"vocab_size": 30, "length": 6, "hidden_dim": 8, "output_range": 3.0, "sizes": (300, 40, 60), **options}
    )
    data.setup()
    return data


def test_sentences_are_those_of_the_generator() -> None:
    data = sentences(eval_batch_size=60)
    tokens, label, ids = next(iter(data.predict_dataloader()))
    written = LSTMGenerator(26, 6, 100, 8, 3.0).draw(60, 2)
    assert tokens.shape == (60, 8)
    texts = [data.vocabulary.decode(row) for row in tokens[ids.argsort()].tolist()]
    assert [[int(word[1:]) for word in text.split()] for text in texts] == written.words.tolist()
    assert label[ids.argsort()].equal(written.component)
    assert data.label_names == ["0", "1", "2", "3"]


def test_no_word_is_unknown() -> None:
    data = sentences()
    assert data.vocab_size == 30
    assert all(int(split.tokens.min()) > 1 for split in data.splits.values())


def test_truth_is_a_mean_over_the_test_split() -> None:
    data = sentences()
    truth = data.generator.truth(data.generator.draw(60, 2).words)
    assert data.truth["nll"] == pytest.approx(-float(truth.log_likelihood.mean()))
    assert data.truth["mi"] == pytest.approx(float(truth.information.mean()))
    assert data.truth["mi_stderr"] == pytest.approx(float(truth.information.std()) / math.sqrt(60))
    assert data.truth["mi"] > 5 * data.truth["mi_stderr"]


def test_sentences_depend_on_the_data_seed_alone() -> None:
    one, other, third = sentences(seed=1), sentences(seed=2), sentences(data_seed=3)
    assert one.splits["train"].tokens.equal(other.splits["train"].tokens)
    assert not one.splits["train"].tokens.equal(third.splits["train"].tokens)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"vocab_size": 4}, "vocab_size - 4 is 0"), ({"length": 0}, "length is 0"), ({"sizes": (1, 0, 1)}, "sizes")],
)
def test_sizes_of_text_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sentences(**options)
