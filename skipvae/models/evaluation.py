"""What an evaluation of a latent variable model measures over a split, in one place."""

from typing import Any

from torch import Tensor, nn

from skipvae.metrics import ActiveUnits, DatasetMean, KLPerDimension, MutualInformation
from skipvae.objective import Elbo
from skipvae.posterior import DiagonalGaussian


class Evaluation(nn.Module):
    """ELBO, reconstruction, KL, mutual information and active units of a split, and its likelihood where asked for.

    Everything is measured with the posterior that inference ends with and a KL weight of 1, summed in float64, and
    merged exactly across processes.

    Args:
        active_threshold: variance of the posterior mean above which a unit is active.
    """

    def __init__(self, active_threshold: float = 0.01) -> None:
        super().__init__()
        self.elbo, self.reconstruction, self.kl, self.nll = (DatasetMean() for _ in range(4))
        self.kl_per_dim = KLPerDimension()
        self.mutual_information = MutualInformation()
        self.active_units = ActiveUnits(active_threshold)
        self.active_threshold = active_threshold
        self._with_nll = False

    def update(self, posterior: DiagonalGaussian, z: Tensor, terms: Elbo, log_likelihood: Tensor | None = None) -> None:
        """Takes in a batch: q(z|x), one z (B, K) drawn from it, the ELBO by that z, and log p(x) (B,) if known."""
        self.elbo.update(terms.elbo)
        self.reconstruction.update(terms.reconstruction)
        self.kl.update(terms.kl)
        self.kl_per_dim.update(terms.kl_per_dim)
        self.active_units.update(posterior.mean)
        self.mutual_information.update(posterior.mean, posterior.logvar, z)
        if log_likelihood is not None:
            self._with_nll = True
            self.nll.update(-log_likelihood)

    def compute(self) -> dict[str, Any]:
        """The results, nats per example, and resets: floats, and lists with one entry per latent dimension."""
        information = self.mutual_information.estimate()
        results = {
            "elbo": float(self.elbo.compute()),
            "elbo_stderr": float(self.elbo.standard_error()),
            "reconstruction": float(self.reconstruction.compute()),
            "kl": float(self.kl.compute()),
            "mi": float(information.mi),
            "mi_stderr": float(information.stderr),
            "mi_ceiling": float(information.ceiling),
            "aggregated_kl": float(information.aggregated_kl),
            "au": int(self.active_units.compute()),
            "au_threshold": self.active_threshold,
            "num_examples": int(self.elbo.moments().num_examples),
            "kl_per_dim": self.kl_per_dim.moments().mean.tolist(),
            "variance_per_dim": self.active_units.variances().tolist(),
        }
        if self._with_nll:
            results["nll"], results["nll_stderr"] = float(self.nll.compute()), float(self.nll.standard_error())
        self.reset()
        return results

    def reset(self) -> None:
        """Forgets what was taken in."""
        self._with_nll = False
        for metric in self.children():
            metric.reset()  # type: ignore[operator]
