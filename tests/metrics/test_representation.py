"""Probes, neighbours and clusters of posterior means."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from skipvae.metrics import Labelled, Representation, representation_scores


def two_classes(distance: float, n: int = 2000, irrelevant: int = 2, seed: int = 0) -> Labelled:
    """Means N(-d/2, 1) and N(+d/2, 1) along the first dimension, and dimensions that say nothing."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 2
    mean = torch.randn(n, 1 + irrelevant, generator=generator)
    mean[:, 0] += distance * (label - 0.5)
    return Labelled(mean, label)


@pytest.mark.parametrize("distance", [0.0, 1.0, 3.0])
def test_the_probe_reaches_the_accuracy_of_bayes(distance: float) -> None:
    scores = representation_scores(two_classes(distance, seed=1), two_classes(distance))
    bayes = float(Normal(0, 1).cdf(torch.tensor(distance / 2)))
    error = (bayes * (1 - bayes) / 2000) ** 0.5
    # The probe is fitted on 2,000 examples in 3 dimensions, which costs it far less than a standard error.
    assert abs(scores["probe_accuracy"] - bayes) < 4 * error
    assert scores["knn_accuracy"] < bayes + 4 * error
    assert scores["probe_accuracy_stderr"] == pytest.approx(error, rel=0.1)
    assert scores["majority_accuracy"] == 0.5
    assert (scores["num_probe_examples"], scores["num_labelled"]) == (2000, 2000)


def test_it_is_fitted_on_the_training_examples() -> None:
    """Whose labels are the wrong way round here, so that nothing of the test split can have been learnt."""
    test, training = two_classes(100.0), two_classes(100.0, seed=1)
    scores = representation_scores(training._replace(label=1 - training.label), test)
    assert scores["probe_accuracy"] == scores["knn_accuracy"] == 0
    assert scores["nmi"] == scores["ari"] == 1


def test_the_majority_class_is_that_of_training() -> None:
    training = Labelled(torch.randn(30, 2), torch.tensor([1] * 20 + [2] * 10))
    test = Labelled(torch.randn(8, 2), torch.tensor([1, 2, 2, 2, 2, 2, 3, 3]))  # and one label that training lacks
    assert representation_scores(training, test)["majority_accuracy"] == 1 / 8


def test_word_counts_are_a_reference_for_text() -> None:
    """The label is whether a word comes twice: seen by counts, not by means of noise, wherever the padding ends."""
    generator = torch.Generator().manual_seed(0)

    def text(n: int) -> Labelled:
        label = torch.arange(n) % 2
        tokens = torch.randint(6, 50, (n, 8), generator=generator)
        tokens[:, 0], tokens[:, 1], tokens[:, -1] = 2, 5, 3
        tokens[label == 1, 3] = 5
        return Labelled(torch.randn(n, 2, generator=generator), label, tokens)

    scores = representation_scores(text(400), text(200))
    assert scores["bag_of_words_accuracy"] > 0.95
    assert scores["probe_accuracy"] < 0.65
    assert "bag_of_words_accuracy" not in representation_scores(two_classes(1.0, 50), two_classes(1.0, 50))


def test_clusters_far_apart_are_the_labels_whatever_their_names() -> None:
    mean, label, _ = two_classes(100.0, irrelevant=0)
    scores = representation_scores(Labelled(mean[:0], label[:0]), Labelled(mean, 7 - 3 * label))
    assert (scores["nmi"], scores["ari"]) == (1.0, 1.0)
    assert "probe_accuracy" not in scores


def test_noise_says_nothing() -> None:
    scores = representation_scores(two_classes(0.0, seed=1), two_classes(0.0))
    assert abs(scores["ari"]) < 0.01
    assert scores["nmi"] < 0.01


def test_examples_without_a_label_are_left_out_and_rare_labels_are_no_clusters() -> None:
    training, (mean, label, _) = two_classes(3.0, 100, seed=1), two_classes(3.0, n=100)
    expected = representation_scores(training, Labelled(mean, label))
    more_mean = torch.cat([mean, torch.full((7, 3), 50.0)])
    more_label = torch.cat([label, torch.tensor([-1, -1, -1, 5, 5, 5, 5])])
    found = representation_scores(training, Labelled(more_mean, more_label))
    assert found["num_labelled"] == 104
    assert (found["nmi"], found["ari"]) == (expected["nmi"], expected["ari"])
    assert found["probe_accuracy"] == pytest.approx(expected["probe_accuracy"] * 100 / 104)  # four errors more


@pytest.mark.parametrize("label", [torch.full((30,), -1), torch.zeros(30), torch.arange(30)])
def test_nothing_to_predict(label: Tensor) -> None:
    examples = Labelled(torch.randn(30, 2), label.long())
    assert "nmi" not in representation_scores(examples, examples)
    if len(label.unique()) < 2:
        assert "probe_accuracy" not in representation_scores(examples, examples)


def test_the_order_of_the_examples_does_not_matter() -> None:
    def shuffled(examples: Labelled) -> Labelled:
        order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
        return Labelled(examples.mean[order], examples.label[order])

    training, test = two_classes(1.0, 400, seed=1), two_classes(1.0, 400)
    assert representation_scores(shuffled(training), shuffled(test)) == representation_scores(training, test)


def test_large_splits_are_measured_by_a_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skipvae.metrics.representation.MAX_EXAMPLES", 100)
    scores = representation_scores(two_classes(1.0, 400, seed=1), two_classes(1.0, 300))
    assert (scores["num_probe_examples"], scores["num_labelled"]) == (100, 100)


def test_the_metric_is_the_function_on_all_batches() -> None:
    training, (mean, label, _) = two_classes(1.0, 200, seed=1), two_classes(1.0, n=300)
    tokens = torch.randint(4, 9, (300, 700), generator=torch.Generator().manual_seed(0))
    metric = Representation()
    for part in (slice(0, 7), slice(7, 200), slice(200, 300)):
        metric.update(mean[part], label[part], tokens[part, : 5 + part.start * 3])
    metric.update(training.mean, training.label, tokens[:200, :4], training=True)
    padded = torch.zeros(300, 512, dtype=torch.long)  # no more words than that are kept
    for part in (slice(0, 7), slice(7, 200), slice(200, 300)):
        padded[part, : min(512, 5 + part.start * 3)] = tokens[part, : min(512, 5 + part.start * 3)]
    first = torch.nn.functional.pad(tokens[:200, :4], (0, 508))
    assert metric.compute() == representation_scores(training._replace(tokens=first), Labelled(mean, label, padded))
    metric.reset()
    metric.update(mean, torch.full((300,), -1))
    assert not metric.has_labels
    assert metric.compute() == {}


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="takes means"):
        Representation().update(torch.zeros(3, 2), torch.zeros(4))
