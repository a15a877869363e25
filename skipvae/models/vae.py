"""The variational autoencoder: an encoder, an inference, a decoder with or without skips, and its measurements."""

from typing import Any

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn

from skipvae.decoders.base import Decoder
from skipvae.encoders.base import Encoder
from skipvae.inference import Amortized, GradientAscent, Inference, Inferred
from skipvae.models.base import GenerativeModel
from skipvae.models.evaluation import Evaluation
from skipvae.models.training_split import NoTrainingExamplesError, labelled_training_batches
from skipvae.models.values import ValuesInOut
from skipvae.nn.evaluation_mode import in_evaluation_mode
from skipvae.objectives.elbo import Elbo, elbo, importance_weighted_log_likelihood, training_loss
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian


class VAE(GenerativeModel, ValuesInOut):
    """A VAE; a SKIP-VAE if its decoder skips, semi-amortised if its inference is (Dieng et al. 2019, section 4).

    Args:
        encoder: x -> q(z|x); left out of the model where the inference has no use for one (SVI).
        decoder: log p(x|z); `decoder.skip` is the one difference between a VAE and a SKIP-VAE.
        inference: how q(z|x) is obtained from the encoder.
        free_bits: nats that each latent dimension may spend before its KL costs anything in training.
        active_threshold: variance of the posterior mean above which a unit is active.
        num_importance_samples: S of the test negative log-likelihood; 0 skips it.
        max_mi_examples: examples that the mutual information is estimated with at most: time grows with the square.
        max_probe_examples: training examples that `test` fits classifiers of the labels on at most; 0 for none.
        optimizer: parameters -> optimiser.
        lr_scheduler: optimiser -> scheduler, stepped once per epoch.
        compile: whether to run encoder and decoder through torch.compile; the first steps take minutes then.

    Raises:
        ValueError: if encoder and decoder disagree on the size of z, or there is no encoder where one is needed.

    Example:
        >>> from skipvae.decoders import MLPDecoder
        >>> from skipvae.encoders import MLPEncoder
        >>> model = VAE(MLPEncoder(latent_dim=2, hidden_dim=8), MLPDecoder(latent_dim=2, hidden_dim=8, skip=True))
        >>> x = torch.zeros(3, 1, 28, 28)
        >>> model.elbo(x).elbo.shape, model.log_likelihood(x, num_samples=5).shape, model.sample(4).shape
        (torch.Size([3]), torch.Size([3]), torch.Size([4, 1, 28, 28]))
    """

    def __init__(
        self,
        encoder: Encoder | None,
        decoder: Decoder,
        inference: Inference | None = None,
        free_bits: float = 0.0,
        active_threshold: float = 0.01,
        num_importance_samples: int = 100,
        max_mi_examples: int = 10_000,
        max_probe_examples: int = 10_000,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.Adam(parameters, lr=1e-3, fused=True),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, compile)
        inference = inference if inference is not None else Amortized()
        if compile and not isinstance(inference, Amortized):
            raise ValueError("compile=true works with amortized inference only: steps of inference differentiate twice")
        if not inference.uses_encoder:
            # Weights that nothing trains have no place in a model or its description, and DDP refuses them.
            encoder = self._init_args["encoder"] = None
        elif encoder is None:
            raise ValueError(f"{type(inference).__name__} needs an encoder; without one, take skipvae.inference.SVI")
        elif encoder.latent_dim != decoder.latent_dim:
            raise ValueError(
                f"the encoder has latent_dim={encoder.latent_dim} and the decoder {decoder.latent_dim}: make them equal"
            )
        if not 0 <= free_bits <= 1e6:
            raise ValueError(f"free_bits is {free_bits}: give the nats that each dimension has free, at least 0")
        if free_bits and isinstance(inference, GradientAscent) and getattr(inference, "gradient", "none") == "none":
            raise ValueError("free_bits does nothing where the loss has no gradient by the posterior: leave it out")
        if decoder.latent_dim < 1:
            raise ValueError("a VAE needs latent_dim >= 1: for a model without z take skipvae.Autoregressive")
        if num_importance_samples < 0:
            raise ValueError(f"num_importance_samples is {num_importance_samples}: give 0 for none, or more")
        self.encoder, self.decoder, self.inference = encoder, decoder, inference
        self.free_bits = free_bits
        self.num_importance_samples, self.max_probe_examples = num_importance_samples, max_probe_examples
        self.evaluation: Evaluation = Evaluation(active_threshold, max_mi_examples)

    @property
    def parts(self) -> list[nn.Module]:
        """Encoder, where there is one, and decoder."""
        return [part for part in (self.encoder, self.decoder) if part is not None]

    # -- public: without dropout and batch statistics, whatever the mode, which stays as it is ----------------------

    @in_evaluation_mode
    def infer(self, x: Tensor, beta: float = 1.0) -> DiagonalGaussian:
        """The posterior q(z|x) that inference ends with, parameters (B, K).

        Args:
            x: (B, ...).
            beta: weight of the KL in what inference maximises.
        """
        return self._inferred(x, beta).posterior

    forward = infer

    def _inferred(self, x: Tensor, beta: float = 1.0) -> Inferred:
        return self.inference(self.encoder, self.decoder, x, beta)  # type: ignore[no-any-return]

    @in_evaluation_mode
    def elbo(self, x: Tensor) -> Elbo:
        """The terms of the ELBO by one sample of z, nats per example: `.elbo`, `.reconstruction`, `.kl`, all (B,).

        For evaluation, with gradients where they are enabled; training takes `loss`.
        """
        return elbo(self.decoder, x, self.infer(x))

    @torch.no_grad()
    @in_evaluation_mode
    def log_likelihood(self, x: Tensor, num_samples: int = 100, chunk_size: int = 1024) -> Tensor:
        """The importance-weighted lower bound of log p(x) in nats, (B,) float64 (Burda et al. 2016)."""
        return importance_weighted_log_likelihood(self.decoder, x, self.infer(x), num_samples, chunk_size)

    @torch.no_grad()
    @in_evaluation_mode
    def sample(self, n: int, mean: bool = False, **options: Any) -> Tensor:
        """n draws x ~ p(x|z), z ~ N(0, I); with `mean` the mean of p(x|z) for such z.

        Raises:
            ValueError: if p(x|z) has no mean in closed form, as of autoregressive decoders.
        """
        z = self.sample_prior(n)
        return self.decoder.mean(z) if mean else self.decoder.sample(z, **options)

    def sample_prior(self, n: int) -> Tensor:
        """n draws z ~ N(0, I), (n, K)."""
        return torch.randn(n, self.latent_dim, device=self.device).type(self.dtype)

    @torch.no_grad()
    @in_evaluation_mode
    def reconstruct(self, x: Tensor, **options: Any) -> Tensor:
        """x decoded from its posterior mean: mean images where they have a closed form, else a draw.

        Args:
            x: (B, ...).
            **options: of `decoder.preview`, such as max_length for text.
        """
        preview: Any = self.decoder.preview
        return preview(self.infer(x).mean, **options)  # type: ignore[no-any-return]

    @torch.no_grad()
    @in_evaluation_mode
    def interpolate(self, x0: Tensor, x1: Tensor, steps: int = 8, **options: Any) -> Tensor:
        """Decodes `steps` points on the line between the posterior means of x0 and x1, both (B, ...), as `reconstruct`.

        Returns:
            (B, steps, ...).
        """
        z0, z1 = self.infer(x0).mean, self.infer(x1).mean
        weights = torch.linspace(0, 1, steps, device=z0.device, dtype=z0.dtype).view(1, -1, 1)
        path = torch.lerp(z0.unsqueeze(1), z1.unsqueeze(1), weights)  # (B, steps, K)
        preview: Any = self.decoder.preview
        decoded: Tensor = preview(path.flatten(0, 1), **options)
        return decoded.view(len(x0), steps, *decoded.shape[1:])

    # -- training and evaluation ------------------------------------------------------------------------------------

    def loss(self, x: Tensor) -> dict[str, Tensor]:
        """See `GenerativeModel.loss`."""
        inferred = self._inferred(x, self.beta)
        terms = elbo(self.decoder, x, inferred.posterior)
        loss = training_loss(terms, self.beta, self.free_bits)
        if inferred.encoder_loss is not None:
            loss = loss + (inferred.encoder_loss - inferred.encoder_loss.detach())
        result = {"loss": loss, "reconstruction": terms.reconstruction.mean(), "kl": terms.kl.mean()}
        if inferred.diverged is not None:
            result["diverged"] = inferred.diverged.to(loss.dtype).mean()
        return result

    def on_fit_start(self) -> None:
        """Refuses an inference that cannot work here, before anything is computed; says what it chose by itself."""
        super().on_fit_start()
        message = self.inference.check(self.decoder, self.device)
        if message is not None:
            rank_zero_info(message)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Measures a batch with the posterior that inference ends with and a KL weight of 1.

        The steps that lead to this posterior may use the annealed weight, if the inference says so.
        """
        annealed = self.inference.anneal_validation and self.is_fitting
        self._measure(batch[0], num_importance_samples=0, beta=self.beta if annealed else 1.0)

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """As in validation, and the importance-weighted likelihood, and labels predicted from the posterior means."""
        posterior = self._measure(batch[0], self.num_importance_samples)
        if len(batch) > 1:
            self.evaluation.update_labels(posterior.mean, batch[1], batch[0])

    def on_test_epoch_end(self) -> None:
        """Fits classifiers of the labels on posterior means of training examples, then as in validation."""
        skipped = self._encode_training_split() if self.evaluation.representation.has_labels else "there are no labels"
        super().on_test_epoch_end()
        if "probe_accuracy" not in self.results:
            self.results["probe_skipped"] = skipped or "the training examples do not have two labels"

    def _encode_training_split(self) -> str | None:
        """Adds means and labels of training examples to the evaluation; returns the reason if there are none."""
        first, step = self.trainer.global_rank, self.trainer.world_size
        try:
            for index, (x, label) in enumerate(labelled_training_batches(self.trainer, self.max_probe_examples)):
                self.seed_noise(3, first + index * step)
                with self.trainer.precision_plugin.test_step_context():
                    mean = self.infer(x).mean
                self.evaluation.update_labels(mean, label, x, training=True)
        except NoTrainingExamplesError as reason:
            return str(reason)
        return None

    def _measure(self, x: Tensor, num_importance_samples: int, beta: float = 1.0) -> DiagonalGaussian:
        inferred = self._inferred(x, beta)
        posterior = inferred.posterior
        z = posterior.rsample()
        reconstruction = self.decoder(x, z)
        terms = Elbo(reconstruction, posterior.kl())
        bound = None
        if num_importance_samples:
            bound = importance_weighted_log_likelihood(self.decoder, x, posterior, num_importance_samples)
        self.evaluation.update_likelihood(terms.elbo, bound, self.decoder.num_predictions(x))
        self.evaluation.update_latents(posterior, z, terms)
        if inferred.elbo_per_step is not None and inferred.diverged is not None:
            self.evaluation.update_refinement(inferred.elbo_per_step, inferred.diverged)
        if not self.is_fitting:  # nothing within training asks for it
            self.evaluation.update_dependence(self._changes(x, z, reconstruction))
        return posterior

    def _changes(self, x: Tensor, z: Tensor, own: Tensor) -> Tensor:
        """By how much log p(x|z) falls from `own` (B,) with the z of half a batch away, and of the prior: (B, 2)."""
        if len(x) == 1:
            return own.new_empty(0, 2)
        others = (z.roll(len(x) // 2, 0), torch.randn_like(z))
        return torch.stack([own - self.decoder(x, other) for other in others], 1)

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> dict[str, Tensor]:
        """The posterior of a batch (x, label, id): mean and logvar (B, K), label and id (B,).

        Raises:
            ValueError: if a batch has no label or id.
        """
        if len(batch) != 3:
            raise ValueError(f"batches to predict must be (x, label, id), but have {len(batch)} entries")
        x, label, identity = batch
        posterior = self.infer(x)
        return {"id": identity, "label": label, "mean": posterior.mean, "logvar": posterior.logvar}
