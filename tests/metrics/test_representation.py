"""Probes, neighbours and clusters of posterior means."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from skipvae.metrics import Representation, representation_scores


def two_classes(distance: float, n: int = 2000, irrelevant: int = 2) -> tuple[Tensor, Tensor]:
    """Means N(-d/2, 1) and N(+d/2, 1) along the first dimension, and dimensions that say nothing."""
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(n) % 2
    mean = torch.randn(n, 1 + irrelevant, generator=generator)
    mean[:, 0] += distance * (label - 0.5)
    return mean, label


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0])
def test_the_probe_reaches_the_accuracy_of_bayes(distance: float) -> None:
    scores = representation_scores(*two_classes(distance))
    assert scores is not None
    bayes = float(Normal(0, 1).cdf(torch.tensor(distance / 2)))
    # The probe is fitted on 1,600 examples in 3 dimensions, which costs it far less than a standard error.
    assert abs(scores.probe_accuracy - bayes) < 4 * scores.stderr(bayes)
    assert scores.knn_accuracy < bayes + 4 * scores.stderr(bayes)
    assert scores.majority_share == 0.5


def test_clusters_far_apart_are_the_labels_whatever_their_names() -> None:
    mean, label = two_classes(100.0, irrelevant=0)
    scores = representation_scores(mean, 7 - 3 * label)
    assert scores is not None
    assert scores[:2] == (1.0, 1.0)
    assert (scores.nmi, scores.ari) == (1.0, 1.0)


def test_noise_says_nothing() -> None:
    scores = representation_scores(*two_classes(0.0))
    assert scores is not None
    assert abs(scores.ari) < 0.01
    assert scores.nmi < 0.01


def test_examples_without_a_label_and_rare_labels_are_left_out() -> None:
    mean, label = two_classes(3.0, n=100)
    expected = representation_scores(mean, label)
    more_mean = torch.cat([mean, torch.full((7, 3), 50.0)])
    more_label = torch.cat([label, torch.tensor([-1, -1, -1, 5, 5, 5, 5])])  # 4 examples, for 5 folds
    assert representation_scores(more_mean, more_label) == expected


@pytest.mark.parametrize("label", [torch.full((30,), -1), torch.zeros(30), torch.arange(30)])
def test_nothing_to_tell_apart(label: Tensor) -> None:
    assert representation_scores(torch.randn(30, 2), label.long()) is None


def test_the_order_of_the_examples_does_not_matter() -> None:
    mean, label = two_classes(1.0, n=400)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    assert representation_scores(mean[order], label[order]) == representation_scores(mean, label)


def test_the_metric_is_the_function_on_all_batches() -> None:
    mean, label = two_classes(1.0, n=300)
    metric = Representation()
    for part in (slice(0, 7), slice(7, 200), slice(200, 300)):
        metric.update(mean[part], label[part])
    scores = representation_scores(mean.double(), label)
    assert scores is not None
    results = metric.compute()
    assert results["probe_accuracy"] == scores.probe_accuracy
    assert results["knn_accuracy_stderr"] == scores.stderr(scores.knn_accuracy)
    metric.reset()
    metric.update(mean, torch.full((300,), -1))
    assert metric.compute() == {}


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="takes means"):
        Representation().update(torch.zeros(3, 2), torch.zeros(4))
