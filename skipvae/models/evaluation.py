"""The measurements of an evaluation over a split, in one place."""

from collections.abc import Mapping
from math import exp, log
from typing import Any

import torch
from torch import Tensor, nn

from skipvae.likelihoods import Measure
from skipvae.metrics import ActiveUnits, DatasetMean, KLPerDimension, MutualInformation, Representation
from skipvae.metrics.mutual_information import MAX_EXAMPLES
from skipvae.objectives.elbo import Elbo
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


def with_facts(results: dict[str, Any], facts: Mapping[str, float]) -> dict[str, Any]:
    """Results, with the facts of the split beside them, and per word, character and byte or in the units of a table.

    The nats are those of everything that the model predicts, the end of each sentence included. An unknown word costs
    no more than its token, so the results compare vocabularies where few words are unknown, and where the same
    sentences were left out or cut.

    Args:
        results: of an evaluation: `elbo`, `nll` where log p(x) is known better, and `num_examples`.
        facts: an entry of the data module's `split_facts`: means over its `num_examples` examples; for text among
            them `words_per_example`, `characters_per_example` and `bytes_per_example`, the end of a sentence counted
            as one; for standardised tables `sum_of_log_scales`, by which -log p(x) is larger in the units of the
            table. If another number of examples was evaluated, as with limit_test_batches, the facts are not about
            these, and nothing is added.

    Example:
        >>> sizes = {"words_per_example": 10.0, "characters_per_example": 50.0, "bytes_per_example": 50.0}
        >>> with_facts({"elbo": -40.0, "num_examples": 2}, {"num_examples": 2, **sizes})["nats_per_word"]
        4.0
        >>> with_facts({"elbo": -40.0, "num_examples": 1}, {"num_examples": 2, **sizes})
        {'elbo': -40.0, 'num_examples': 1}
    """
    if facts.get("num_examples") != results.get("num_examples"):
        return results
    results = {**results, **facts}
    if "words_per_example" in facts:
        nll = results.get("nll", -results["elbo"])
        results["nats_per_word"] = nll / facts["words_per_example"]
        results["nats_per_character"] = nll / facts["characters_per_example"]
        results["bits_per_byte"] = nll / facts["bytes_per_example"] / log(2)
    if "sum_of_log_scales" in facts:
        results["nll_in_units"] = results.get("nll", -results["elbo"]) + facts["sum_of_log_scales"]
        results["nll_in_units_stderr"] = results.get("nll_stderr", results.get("elbo_stderr"))
    return results


def with_bits(results: dict[str, Any], measure: Measure, num_dimensions: int) -> dict[str, Any]:
    """Results, with the meaning of log p(x) beside them, and in bits per dimension, -log p(x) / (D ln 2).

    Bits of a density have names of their own, for they are not comparable with those of a probability: another unit of
    x moves them.

    Args:
        results: of an evaluation: `elbo`, and `nll` where log p(x) is known better.
        measure: the meaning of log p(x); where it is neither, there are no bits.
        num_dimensions: D, the number of values of x, C H W for images.

    Example:
        >>> with_bits({"nll": 16.0 * log(2)}, Measure.BYTES, 4)["nll_bits_per_dim"]
        4.0
        >>> with_bits({"nll": 16.0 * log(2)}, Measure.DENSITY, 4)["nll_density_bits_per_dim"]
        4.0
    """
    results = {**results, "measure": str(measure), "num_dimensions": num_dimensions}
    if measure is Measure.NEITHER:
        return results
    kind, nats = "density_bits_per_dim" if measure.is_density else "bits_per_dim", num_dimensions * log(2)
    for name, sign in (("elbo", -1), ("nll", 1)):
        if name in results:
            results[f"{name}_{kind}"] = sign * results[name] / nats
        if f"{name}_stderr" in results:
            results[f"{name}_{kind}_stderr"] = results[f"{name}_stderr"] / nats
    return results


class LikelihoodEvaluation(nn.Module):
    """The likelihood of a split: a bound of log p(x), log p(x) itself where it is known better, perplexity for text.

    Summed in float64 and merged exactly across processes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elbo, self.nll, self.num_predictions = DatasetMean(), DatasetMean(), DatasetMean()
        self._with_nll = self._with_predictions = False

    def update_likelihood(self, elbo: Tensor, log_likelihood: Tensor | None, num_predictions: Tensor | None) -> None:
        """Adds a batch: its ELBO, log p(x) if it is known better, and the numbers of tokens it predicts, all (B,)."""
        self.elbo.update(elbo)
        if log_likelihood is not None:
            self._with_nll = True
            self.nll.update(-log_likelihood)
        if num_predictions is not None:
            self._with_predictions = True
            self.num_predictions.update(num_predictions.double())

    def compute(self) -> dict[str, Any]:
        """The results in nats per example."""
        results: dict[str, Any] = {
            "elbo": float(self.elbo.compute()),
            "elbo_stderr": float(self.elbo.standard_error()),
            "num_examples": int(self.elbo.moments().num_examples),
        }
        if self._with_nll:
            results["nll"], results["nll_stderr"] = float(self.nll.compute()), float(self.nll.standard_error())
        if self._with_predictions:
            results["tokens_per_example"] = float(self.num_predictions.compute())
            nll = results.get("nll", -results["elbo"])
            results["nll_per_token"] = nll / results["tokens_per_example"]
            results["ppl"] = exp(min(results["nll_per_token"], 700.0))  # an untrained model must not overflow
        return results

    def reset(self) -> None:
        """Removes all batches."""
        self._with_nll = self._with_predictions = False
        for metric in self.children():
            metric.reset()  # type: ignore[operator]


class Evaluation(LikelihoodEvaluation):
    """For models with latent variables: also the terms of the ELBO, mutual information and active units.

    Everything is measured with the posterior that inference ends with and a KL weight of 1.

    Args:
        active_threshold: variance of the posterior mean above which a unit is active.
        max_mi_examples: examples that the mutual information is estimated with at most.
    """

    def __init__(self, active_threshold: float = 0.01, max_mi_examples: int = MAX_EXAMPLES) -> None:
        super().__init__()
        self.reconstruction, self.kl, self.kl_per_dim = DatasetMean(), DatasetMean(), KLPerDimension()
        self.mutual_information = MutualInformation(max_mi_examples)
        self.dependence = DatasetMean(empty_ok=True)
        self.active_units = ActiveUnits(active_threshold)
        self.active_threshold = active_threshold
        self.elbo_per_step, self.diverged = DatasetMean(), DatasetMean()
        self.representation = Representation()
        self._with_refinement = self._with_labels = self._with_dependence = False

    def update_latents(self, posterior: DiagonalGaussian, z: Tensor, terms: Elbo) -> None:
        """Adds q(z|x) of a batch, one z (B, K) drawn from it, and the ELBO by that z."""
        self.reconstruction.update(terms.reconstruction)
        self.kl.update(terms.kl)
        self.kl_per_dim.update(terms.kl_per_dim)
        self.active_units.update(posterior.mean)
        self.mutual_information.update(posterior.mean, posterior.logvar, z)

    def update_dependence(self, change: Tensor) -> None:
        """Adds how log p(x|z) of a batch changes if z is exchanged, and if it is drawn from the prior, (B, 2)."""
        self._with_dependence = True
        change = change[change.isfinite().all(1)]  # x may be impossible by another z
        self.dependence.update(torch.column_stack([change.abs(), change[:, 0]]))

    def update_refinement(self, elbo_per_step: Tensor, diverged: Tensor) -> None:
        """Adds the ELBO of a batch along the steps of inference, (B, num_steps + 1), and which diverged, (B,)."""
        self._with_refinement = True
        self.elbo_per_step.update(elbo_per_step)
        self.diverged.update(diverged.double())

    def update_labels(self, mean: Tensor, label: Tensor, x: Tensor, training: bool = False) -> None:
        """Adds the posterior means (B, K) and the labels (B,) of a batch x of the test or the training split."""
        self._with_labels = True
        self.representation.update(mean, label, None if x.is_floating_point() else x, training)

    def reset(self) -> None:
        """Removes all batches."""
        self._with_refinement = self._with_labels = self._with_dependence = False
        super().reset()

    def compute(self) -> dict[str, Any]:
        """As above, and lists with one entry per latent dimension.

        Where steps of inference were made, what they gained; where there are labels, their prediction from the means.
        """
        information = self.mutual_information.estimate().bounded()
        results = super().compute()
        if self._with_refinement:
            curve = self.elbo_per_step.compute().tolist()
            results["elbo_per_step"], results["amortization_gap"] = curve, curve[-1] - curve[0]
            results["diverged"] = round(float(self.diverged.compute()) * results["num_examples"])
        if self._with_dependence and (dependence := self.dependence.moments()).num_examples:
            for i, name in enumerate(("decoder_dependence", "prior_dependence", "exchange_loss")):
                results[name] = float(dependence.mean[i])
                results[f"{name}_stderr"] = float(dependence.standard_error[i])
        if self._with_labels:
            results |= self.representation.compute()
        return results | {
            "reconstruction": float(self.reconstruction.compute()),
            "kl": float(self.kl.compute()),
            "mi": float(information.mi),
            "mi_stderr": float(information.stderr),
            "mi_ceiling": float(information.ceiling),
            "mi_examples": information.num_examples,
            "aggregated_kl": float(information.aggregated_kl),
            "au": int(self.active_units.compute()),
            "au_threshold": self.active_threshold,
            "au_published": int((self.active_units.unbiased_variances() > 0.02).sum()),
            "kl_per_dim": self.kl_per_dim.moments().mean.tolist(),
            "variance_per_dim": self.active_units.variances().tolist(),
        }
