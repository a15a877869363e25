"""Do the latent variables mean something? What the posterior means of a frozen model tell about labels it never saw.

Everything is measured within one split, accuracies by stratified cross-validation, so that no other data has to be
encoded. The means are taken as they are, not standardised: a linear probe that is regularised sees little of a
dimension that hardly moves. Nearest neighbours and clusters know no scale, so of a collapsed model they see what the
noise of the posterior hides from the decoder: read them beside the active units.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skipvae.metrics.base import DatasetMetric, as_float64

FOLDS = 5
NEIGHBOURS = 10
MAX_EXAMPLES = 10_000


class RepresentationScores(NamedTuple):
    """How well labels can be told from posterior means; shares between 0 and 1, but for the last."""

    probe_accuracy: float
    """Of a linear probe: logistic regression with an L2 penalty."""
    knn_accuracy: float
    """Of a vote of the 10 nearest neighbours."""
    majority_share: float
    """Of the most frequent label: the accuracy of those who always guess it."""
    nmi: float
    """Normalised mutual information of labels and as many clusters, found by k-means."""
    ari: float
    """Adjusted Rand index of labels and those clusters: 0 for chance, 1 for equality, below 0 for worse than chance."""
    num_labelled: int
    """Examples that this was measured on."""

    def stderr(self, accuracy: float) -> float:
        """The standard error of one of the accuracies, over the examples."""
        return math.sqrt(accuracy * (1 - accuracy) / self.num_labelled)


def representation_scores(mean: Tensor, label: Tensor) -> RepresentationScores | None:
    """Linear probe, nearest neighbours and k-means on posterior means.

    Args:
        mean: (N, K) posterior means; those of 10,000 labelled examples at most are used.
        label: (N,) integers; below 0 for none. Labels with fewer than 5 examples, which cannot be in every fold of
            the cross-validation, are left out.

    Returns:
        The scores, which do not depend on the order of the examples; None if fewer than two labels remain.

    Example:
        >>> label = torch.arange(40) % 2
        >>> scores = representation_scores(label[:, None] + 0.01 * torch.randn(40, 3), label)
        >>> scores.probe_accuracy, scores.knn_accuracy, scores.nmi, scores.ari
        (1.0, 1.0, 1.0, 1.0)
    """
    # Here, since they take longer to import than most commands have use for.
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    rows = torch.column_stack([label.double(), mean.double()])[label >= 0].cpu().numpy()
    rows = _shuffled(rows)[:MAX_EXAMPLES]
    values, counts = np.unique(rows[:, 0], return_counts=True)
    rows = rows[np.isin(rows[:, 0], values[counts >= FOLDS])]
    num_values = int((counts >= FOLDS).sum())
    if num_values < 2:
        return None
    rows = _shuffled(rows)  # again, so that the folds do not depend on what was left out
    x, y = rows[:, 1:], rows[:, 0].astype(np.int64)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    accuracy = [
        float(cross_val_score(classifier, x, y, cv=folds).mean())
        for classifier in (LogisticRegression(max_iter=1000), KNeighborsClassifier(min(NEIGHBOURS, len(y) // 2)))
    ]
    clusters = KMeans(num_values, n_init=5, random_state=0).fit_predict(x)
    return RepresentationScores(
        probe_accuracy=accuracy[0],
        knn_accuracy=accuracy[1],
        majority_share=float(np.bincount(y).max() / len(y)),
        nmi=float(normalized_mutual_info_score(y, clusters)),
        ari=float(adjusted_rand_score(y, clusters)),
        num_labelled=len(y),
    )


def _shuffled(rows: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The same order for the same rows, however they came: several processes gather them in another."""
    return np.random.default_rng(0).permutation(rows[np.lexsort(rows.T)])


class Representation(DatasetMetric):
    """`representation_scores` of a data set that comes in batches.

    Example:
        >>> metric = Representation()
        >>> metric.update(torch.eye(2).repeat(5, 1), torch.arange(2).repeat(5))
        >>> metric.update(torch.eye(2).repeat(9, 1), torch.arange(2).repeat(9))
        >>> metric.compute()["knn_accuracy"]
        1.0
    """

    higher_is_better = True

    def update(self, mean: Tensor, label: Tensor) -> None:
        """Takes in the posterior means (B, K) and the labels (B,) of a batch; labels below 0 stand for none.

        Raises:
            ValueError: if they have another shape.
        """
        if mean.ndim != 2 or label.shape != mean.shape[:1]:
            raise ValueError(
                f"Representation takes means (B, K) and labels (B,), got {tuple(mean.shape)} and {tuple(label.shape)}"
            )
        self.rows.append(torch.column_stack([as_float64(mean), as_float64(label)]))  # (B, K + 1)

    def compute(self) -> dict[str, Any]:
        """The scores by name, with standard errors of the accuracies; empty if there are no labels to tell apart."""
        rows = self.all_rows()
        scores = representation_scores(rows[:, :-1], rows[:, -1].long())
        if scores is None:
            return {}
        accuracies = {name: getattr(scores, name) for name in ("probe_accuracy", "knn_accuracy")}
        return scores._asdict() | {f"{name}_stderr": scores.stderr(value) for name, value in accuracies.items()}
