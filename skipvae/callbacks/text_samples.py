"""Sentences for the loggers: samples, reconstructions, interpolations."""

from collections.abc import Iterable, Sequence
from typing import Any

from pytorch_lightning import LightningModule, Trainer

from skipvae.callbacks.drawing import DrawingCallback, draws_here
from skipvae.callbacks.loggers import write_table
from skipvae.text.codec import TextCodec
from skipvae.text.tokens import pad_sentences


class TextSamples(DrawingCallback):
    """Sentences written by a text model.

    - text/samples: sentences drawn from the model, for the same z each time.
    - text/reconstructions: validation sentences, each above the most probable next words from its posterior mean.
    - text/interpolations: sentences on the line between the posterior means of two validation sentences.

    Models of other data than text write nothing, and models without z only samples.

    Args:
        every_n_epochs: write after the validations of every n-th epoch.
        num_sentences: how many samples, reconstructions and steps of the interpolation.
        max_length: words of a generated sentence at most.
        time_share: fraction of the training time that this may take; the first and last texts are always written.
    """

    def __init__(
        self, every_n_epochs: int = 5, num_sentences: int = 8, max_length: int = 60, time_share: float = 0.02
    ) -> None:
        super().__init__(every_n_epochs, time_share, num_kept=num_sentences)
        self.num_sentences, self.max_length = num_sentences, max_length

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Keeps the first sentence of each of the first batches: those of one batch are equally long."""
        if not draws_here(trainer) or not _writes_text(pl_module):
            return
        if batch_idx == 0:
            self._kept = []
        if len(self._kept) < self.num_kept:
            self._kept.append((batch[0][:1], None))

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See `DrawingCallback.draw`."""
        model: Any = pl_module
        sentences = TextCodec.of(model)
        options = {"max_length": self.max_length}
        samples = sentences.decode(model.sample(self.num_sentences, **options))
        self._write(trainer, "samples", ["sample"], zip(samples, strict=True))
        if model.decoder.latent_dim:
            x = pad_sentences([x for x, _ in self._kept])
            pairs = zip(sentences.decode(x), sentences.decode(model.reconstruct(x, **options)), strict=True)
            self._write(trainer, "reconstructions", ["sentence", "reconstruction"], pairs)
            path = sentences.decode(model.interpolate(x[:1], x[-1:], self.num_sentences, **options)[0])
            self._write(
                trainer, "interpolations", ["step", "sentence"], zip(map(str, range(len(path))), path, strict=True)
            )

    def _write(self, trainer: Trainer, name: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        write_table(trainer, f"text/{name}", header, rows, trainer.global_step)


def _writes_text(model: Any) -> bool:
    return bool(model.decoder.modality == "text" and "vocabulary" in model.codecs)
