"""Scores of the representation: labels that the model was not trained on, predicted from its posterior means.

Classifiers are fitted on examples of the training split and scored on the test split; k-means clusters are of the test
split. The means are not standardised: a regularised linear probe uses little of a dimension that hardly varies. Nearest
neighbours and clusters depend on no scale, so in a collapsed model they use differences that the noise of the posterior
hides from the decoder: read them together with the active units. For text, the same linear probe of word counts is a
reference.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from skipvae.metrics.dataset_metric import DatasetMetric, as_float64
from skipvae.text.tokens import BOS, EOS, PAD

NEIGHBOURS = 10
MIN_CLUSTER_SIZE = 5
MAX_EXAMPLES = 10_000
MAX_WORDS = 512
"""Of an example; the bag of words ignores further ones."""

Array = np.ndarray[Any, Any]


class Labelled(NamedTuple):
    """Posterior means (N, K), labels (N,), below 0 for none, and for text the token ids (N, T), all of one split."""

    mean: Tensor
    label: Tensor
    tokens: Tensor | None = None


def representation_scores(training: Labelled, test: Labelled) -> dict[str, float | int]:
    """The test accuracy of classifiers fitted on training examples, and the agreement of test labels and clusters.

    The scores do not depend on the order of the examples. Of each split, a seeded subset of at most 10,000 labelled
    examples is used. A label of the test split that the training examples lack counts as an error.

    Args:
        training: the examples that the classifiers are fitted on; may be empty.
        test: the examples that they are scored on.

    Returns:
        Accuracies between 0 and 1 with their standard errors, if the training examples have two labels or more:
        `probe_accuracy` (logistic regression on the means), `knn_accuracy` (10 nearest neighbours),
        `majority_accuracy` (always the most frequent label of training) and, for text, `bag_of_words_accuracy`
        (logistic regression on word counts), with `num_probe_examples`, how many they were fitted on. If two labels or
        more have 5 test examples: `nmi` and `ari`, normalised mutual information and adjusted Rand index of labels and
        as many k-means clusters. And `num_labelled`, the test examples.

    Example:
        >>> label = torch.arange(40) % 2
        >>> examples = Labelled(label[:, None] + 0.01 * torch.randn(40, 3), label)
        >>> scores = representation_scores(examples, examples)
        >>> scores["probe_accuracy"], scores["majority_accuracy"], scores["nmi"]
        (1.0, 0.5, 1.0)
    """
    fitted_on, scored_on = _Arrays.of(training), _Arrays.of(test)
    if not len(scored_on.label):
        return {}
    scores: dict[str, float | int] = {"num_labelled": len(scored_on.label)}
    if len(np.unique(fitted_on.label)) > 1:
        scores |= _accuracies(fitted_on, scored_on) | {"num_probe_examples": len(fitted_on.label)}
    return scores | _clusters(scored_on)


class _Arrays(NamedTuple):
    """The labelled examples of a split, at most 10,000, in an order that does not depend on that of the processes."""

    mean: Array
    label: Array
    tokens: Array | None

    @classmethod
    def of(cls, examples: Labelled) -> "_Arrays":
        known = examples.label >= 0
        mean, label = examples.mean[known].double().cpu().numpy(), examples.label[known].long().cpu().numpy()
        order = np.random.default_rng(0).permutation(np.lexsort([*mean.T, label]))[:MAX_EXAMPLES]
        tokens = None if examples.tokens is None else examples.tokens[known].cpu().numpy()[order]
        return cls(mean[order], label[order], tokens)


def _accuracies(fitted_on: _Arrays, scored_on: _Arrays) -> dict[str, float]:
    # Imported here: it takes longer than most commands run.
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    majority = np.argmax(np.bincount(fitted_on.label))
    classifiers: dict[str, Any] = {
        "probe_accuracy": LogisticRegression(max_iter=1000),
        "knn_accuracy": KNeighborsClassifier(min(NEIGHBOURS, len(fitted_on.label))),
    }
    correct = {"majority_accuracy": scored_on.label == majority}
    for name, classifier in classifiers.items():
        classifier.fit(fitted_on.mean, fitted_on.label)
        correct[name] = classifier.predict(scored_on.mean) == scored_on.label
    if fitted_on.tokens is not None and scored_on.tokens is not None:
        num_words = int(max(fitted_on.tokens.max(), scored_on.tokens.max())) + 1
        words = LogisticRegression(max_iter=1000).fit(_counts(fitted_on.tokens, num_words), fitted_on.label)
        correct["bag_of_words_accuracy"] = words.predict(_counts(scored_on.tokens, num_words)) == scored_on.label
    accuracies = {name: float(right.mean()) for name, right in correct.items()}
    return accuracies | {
        f"{name}_stderr": math.sqrt(value * (1 - value) / len(scored_on.label)) for name, value in accuracies.items()
    }


def _counts(tokens: Array, num_words: int) -> Any:
    """The number of occurrences of each word in each example, sparse (N, V); 0 for padding, BOS and EOS."""
    from scipy.sparse import csr_matrix

    rows, columns = np.nonzero((tokens != PAD) & (tokens != BOS) & (tokens != EOS))
    counts = csr_matrix((np.ones(len(rows)), (rows, tokens[rows, columns])), shape=(len(tokens), num_words))
    counts.sum_duplicates()
    return counts


def _clusters(examples: _Arrays) -> dict[str, float]:
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    values, counts = np.unique(examples.label, return_counts=True)
    frequent = values[counts >= MIN_CLUSTER_SIZE]
    if len(frequent) < 2:
        return {}
    chosen = np.isin(examples.label, frequent)
    label = examples.label[chosen]
    clusters = KMeans(len(frequent), n_init=5, random_state=0).fit_predict(examples.mean[chosen])
    return {
        "nmi": float(normalized_mutual_info_score(label, clusters)),
        "ari": float(adjusted_rand_score(label, clusters)),
    }


class Representation(DatasetMetric):
    """`representation_scores` of splits that come in batches.

    Example:
        >>> metric = Representation()
        >>> metric.update(torch.eye(2).repeat(9, 1), torch.arange(2).repeat(9), training=True)
        >>> metric.update(torch.eye(2).repeat(5, 1), torch.arange(2).repeat(5))
        >>> metric.compute()["probe_accuracy"]
        1.0
    """

    higher_is_better = True
    tokens: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("tokens", default=[], dist_reduce_fx="cat")

    def update(self, mean: Tensor, label: Tensor, tokens: Tensor | None = None, training: bool = False) -> None:
        """Adds the labelled examples of a batch.

        Args:
            mean: posterior means (B, K).
            label: (B,); below 0 for none.
            tokens: token ids (B, T) of a text, in all updates or in none.
            training: whether they are of the training split.

        Raises:
            ValueError: if the shapes are others.
        """
        mean, label = as_float64(mean), torch.as_tensor(label)
        if mean.ndim != 2 or label.shape != mean.shape[:1]:
            raise ValueError(
                f"Representation takes means (B, K) and labels (B,), got {tuple(mean.shape)} and {tuple(label.shape)}"
            )
        known = label >= 0
        label = label[known]
        self.rows.append(torch.column_stack([torch.full_like(label, training), label, mean[known]]))  # (B, 2 + K)
        if tokens is not None:
            tokens = torch.as_tensor(tokens)
            words = tokens.new_full((len(label), MAX_WORDS), PAD, dtype=torch.int32)
            width = min(MAX_WORDS, tokens.shape[1])
            words[:, :width] = tokens[known, :width]
            self.tokens.append(words)

    @property
    def has_labels(self) -> bool:
        """Whether this process has seen any label."""
        return any(len(rows) for rows in self.rows)

    def compute(self) -> dict[str, float | int]:
        """The scores by name; empty if there are no labels."""
        if not self.has_labels:
            return {}
        rows = self.all_rows()
        tokens = dim_zero_cat(self.tokens) if any(len(words) for words in self.tokens) else None
        training = rows[:, 0] > 0

        def part(chosen: Tensor) -> Labelled:
            return Labelled(rows[chosen, 2:], rows[chosen, 1].long(), None if tokens is None else tokens[chosen])

        return representation_scores(part(training), part(~training))
