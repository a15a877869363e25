"""The registry of metrics: key, title, meaning, digits, direction and unit, for tables of a run and of a study."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from skipvae.likelihoods import Measure


class Metric(NamedTuple):
    """One line of the registry.

    Attributes:
        key: in the results of an evaluation and in metrics.json; its standard error is `KEY_stderr`.
        title: column of a study's tables; "" for no column.
        unit: "nats" for nats per example; "" for counts, fractions and the like.
        meaning: description in the table of one run, which may contain other results in braces, such as
            `{mi_ceiling:.2f}`; "" for no line there.
        digits: after the decimal point, in a study's tables; more where the standard deviation needs them.
        better: +1 if larger is better, -1 if smaller is, 0 if neither.
        of_labels: whether it is about the labels of the data; these have a table of their own in studies.
        of_likelihood: whether it is a value of log p(x), comparable only where that has the same meaning (`Measure`).
        unless_zero: whether it is left out where it is zero.
        unless_binary: whether it is left out where x is binary.
        without_z: meaning for a model without latent variables, where it differs.
        logged: whether loggers get it, as val/KEY and test/KEY.
        headline: whether it is among the few that TensorBoard shows first; others are a click away.
    """

    key: str
    title: str
    meaning: str
    digits: int = 3
    better: int = 0
    of_labels: bool = False
    of_likelihood: bool = False
    unless_zero: bool = False
    unless_binary: bool = False
    without_z: str = ""
    unit: str = "nats"
    logged: bool = False
    headline: bool = False

    def has_a_value_in(self, results: Mapping[str, Any]) -> bool:
        """Whether results have it, for data where it is worth a line."""
        is_binary = results.get("measure") == Measure.BINARY
        return results.get(self.key) is not None and not (self.unless_binary and is_binary)

    def is_shown(self, results: Mapping[str, Any]) -> bool:
        """Whether it has a place in a table of these results."""
        return self.has_a_value_in(results) and bool(results[self.key] or not self.unless_zero)


METRICS = (
    Metric(
        "elbo",
        "ELBO",
        "evidence lower bound, higher is better",
        1,
        +1,
        without_z="log p(x), higher is better",
        of_likelihood=True,
        logged=True,
        headline=True,
    ),
    Metric(
        "reconstruction",
        "recon.",
        "log-likelihood of x given z",
        1,
        of_likelihood=True,
        logged=True,
    ),
    Metric(
        "kl",
        "KL",
        "KL(q(z|x) || p(z)): what z costs",
        1,
        logged=True,
        headline=True,
    ),
    Metric(
        "mi",
        "MI",
        "mutual information of x and z, by {mi_examples:,} examples (at most ln N = {mi_ceiling:.2f})",
        2,
        +1,
        logged=True,
        headline=True,
    ),
    Metric("aggregated_kl", "", "KL(q(z) || p(z)), all these x taken together"),
    Metric("true_mi", "true MI", "mutual information in the process that made the data", 2),
    Metric("decoder_dependence", "", "how far log p(x|z) moves, up or down, when z is exchanged between examples"),
    Metric("exchange_loss", "", "by how much log p(x|z) falls then: what x's own z is worth to the decoder"),
    Metric("prior_dependence", "", "how far log p(x|z) moves when z is drawn from the prior"),
    Metric(
        "au",
        "AU",
        "active units of {num_units} (variance above {au_threshold:g})",
        1,
        +1,
        unit="",
        logged=True,
        headline=True,
    ),
    Metric(
        "au_published",
        "AU 0.02",
        "the same by the authors' threshold: variance, over N - 1, above 0.02",
        1,
        +1,
        unit="",
    ),
    Metric(
        "nll",
        "NLL",
        "-log p(x) at most ({num_importance_samples} samples of z)",
        1,
        -1,
        without_z="-log p(x)",
        of_likelihood=True,
        logged=True,
        headline=True,
    ),
    Metric(
        "elbo_bits_per_dim",
        "ELBO bits/dim",
        "-ELBO in bits for each of the {num_dimensions:,} values of x",
        3,
        -1,
        without_z="-log p(x) in bits for each of the {num_dimensions:,} values of x",
        unit="bits per dimension",
        of_likelihood=True,
        unless_binary=True,
        logged=True,
        headline=True,
    ),
    Metric(
        "nll_bits_per_dim",
        "NLL bits/dim",
        "the same of the NLL",
        3,
        -1,
        unit="bits per dimension",
        of_likelihood=True,
        unless_binary=True,
        logged=True,
        headline=True,
    ),
    Metric(
        "elbo_density_bits_per_dim",
        "",
        "-ELBO in bits for each of the {num_dimensions:,} values of x, of a density: not comparable with a probability",
        unit="bits per dimension",
        of_likelihood=True,
    ),
    Metric(
        "nll_density_bits_per_dim",
        "",
        "the same of the NLL",
        unit="bits per dimension",
        of_likelihood=True,
    ),
    Metric(
        "nll_in_units",
        "",
        "the NLL of rows in the units of the table, not standardised",
        of_likelihood=True,
    ),
    Metric("true_nll", "true NLL", "-log p(x) of the process that made the data", 2),
    Metric(
        "ppl",
        "PPL",
        "perplexity per token, lower is better",
        1,
        -1,
        unit="",
        logged=True,
        headline=True,
    ),
    Metric(
        "nats_per_word",
        "nats/word",
        "-log p(x) for each word of the text, whatever its tokens",
        3,
        -1,
        unit="nats per word",
    ),
    Metric("nats_per_character", "", "the same for each character", unit="nats per character"),
    Metric(
        "bits_per_byte",
        "bits/byte",
        "the same for each byte of UTF-8, in bits: compares vocabularies",
        3,
        -1,
        unit="bits per byte",
        logged=True,
    ),
    Metric(
        "unk_fraction", "unknown words", "unknown words of the split; above 0.05 all of the above is too low", unit=""
    ),
    Metric(
        "duplicate_fraction", "", "examples of the split that are also in the training split", unless_zero=True, unit=""
    ),
    Metric(
        "dropped_fraction",
        "left out",
        "sentences of the split left out: longer than max_length",
        unless_zero=True,
        unit="",
    ),
    Metric("truncated_fraction", "cut", "sentences of the split cut at max_length", unless_zero=True, unit=""),
    Metric(
        "amortization_gap",
        "",
        "what the steps of inference add to the encoder's ELBO",
        logged=True,
    ),
    Metric(
        "diverged", "", "examples whose inference went back to its best step", unless_zero=True, unit="", logged=True
    ),
    Metric("seconds", "seconds", "", 0, unit="seconds"),
    Metric(
        "probe_accuracy",
        "linear probe",
        "labels predicted from the posterior means, by a linear probe of {num_probe_examples:,} training examples",
        better=+1,
        of_labels=True,
        unit="",
        logged=True,
    ),
    Metric(
        "knn_accuracy",
        "10 neighbours",
        "the same by the 10 nearest neighbours",
        better=+1,
        of_labels=True,
        unit="",
        logged=True,
    ),
    Metric(
        "bag_of_words_accuracy",
        "bag of words",
        "reference: the same by word counts",
        of_labels=True,
        unit="",
        logged=True,
    ),
    Metric("majority_accuracy", "", "majority-class baseline", of_labels=True, unit=""),
    Metric(
        "nmi",
        "k-means NMI",
        "labels and clusters of the means: normalised mutual information",
        better=+1,
        of_labels=True,
        unit="",
        logged=True,
    ),
    Metric(
        "ari",
        "k-means ARI",
        "labels and clusters of the means: adjusted Rand index",
        better=+1,
        of_labels=True,
        unit="",
        logged=True,
    ),
)
"""In the order of the tables."""


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> float:
        return math.nan


def meanings(results: Mapping[str, Any], **more: Any) -> Iterator[tuple[str, str]]:
    """The key and meaning of each metric in the results of an evaluation, for the table of one run.

    Args:
        results: of an evaluation.
        **more: further values that meanings contain, such as `num_importance_samples`.

    Example:
        >>> list(meanings({"elbo": -80.0, "diverged": 0}))
        [('elbo', 'log p(x), higher is better')]
    """
    num_units = len(results.get("kl_per_dim", []))
    known = _Known(results, num_units=num_units, **more)
    for metric in METRICS:
        if metric.meaning and metric.is_shown(results):
            meaning = metric.without_z if metric.without_z and not num_units else metric.meaning
            yield metric.key, meaning.format_map(known)
