"""The baseline without latent variables: a language model, or a PixelCNN."""

from typing import Any

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from skipvae.decoders.base import Decoder
from skipvae.models.base import GenerativeModel
from skipvae.models.evaluation import LikelihoodEvaluation
from skipvae.nn.evaluation_mode import in_evaluation_mode


class Autoregressive(GenerativeModel):
    """p(x) by a decoder that sees no z (the LANGUAGE MODEL and PixelCNN rows of the paper's comparison).

    Its log-likelihood is exact, so what is logged as `elbo` is log p(x) itself and comparable with the bounds of VAEs.

    Args:
        decoder: an autoregressive decoder with `latent_dim=0`.
        optimizer: parameters -> optimiser.
        lr_scheduler: optimiser -> scheduler, stepped once per epoch.
        compile: whether to run the decoder through torch.compile; the first steps take minutes then.

    Raises:
        ValueError: if the decoder expects a z.

    Example:
        >>> from skipvae.decoders import GatedPixelCNNDecoder
        >>> model = Autoregressive(GatedPixelCNNDecoder(latent_dim=0, image_shape=(1, 4, 4), channels=4, num_layers=2))
        >>> model.log_likelihood(torch.zeros(3, 1, 4, 4)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        decoder: Decoder,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.Adam(parameters, lr=1e-3, fused=True),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, compile)
        if decoder.latent_dim != 0:
            raise ValueError(
                f"the decoder expects a z of size {decoder.latent_dim}: set latent_dim to 0 for a model without z"
            )
        self.decoder = decoder
        self.evaluation: LikelihoodEvaluation = LikelihoodEvaluation()

    @property
    def parts(self) -> list[nn.Module]:
        """The decoder."""
        return [self.decoder]

    @in_evaluation_mode
    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (B,), without dropout, whatever the mode; training takes `loss`."""
        return self.decoder(x, None)  # type: ignore[no-any-return]

    forward = log_likelihood

    @torch.no_grad()
    @in_evaluation_mode
    def sample(self, n: int, mean: bool = False, **options: Any) -> Tensor:
        """n draws x ~ p(x).

        Raises:
            ValueError: if the mean is asked for, which autoregressive decoders do not have.
        """
        return self.decoder.mean(None) if mean else self.decoder.sample(None, num_samples=n, **options)

    def loss(self, x: Tensor) -> dict[str, Tensor]:
        """See `GenerativeModel.loss`."""
        log_likelihood = self.decoder(x, None).mean()
        return {"loss": -log_likelihood, "reconstruction": log_likelihood}

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Measures a batch."""
        log_likelihood = self.log_likelihood(batch[0])
        self.evaluation.update_likelihood(log_likelihood, log_likelihood, self.decoder.num_predictions(batch[0]))

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx)
