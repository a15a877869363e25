"""Posterior means as points in TensorBoard's embedding projector, with what there is to know of each example."""

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.colors import TABLEAU_COLORS, to_rgb
from torch import Tensor

from skipvae.callbacks.tiles import thumbnails
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from skipvae.text.codec import TextCodec

LONGEST_SENTENCE = 100


def write_points(
    writer: Any,
    model: Any,
    examples: Sequence[tuple[Tensor, Tensor | None]],
    label_names: Sequence[str],
    step: int,
) -> None:
    """Writes posterior means (N, K) with one row of metadata each, and for images thumbnails.

    The columns of the metadata, to label and colour points by: sentence, class, label (a number), KL (nats) and
    example (its index), as far as they exist. Thumbnails of grey images have the colour of their class.

    Args:
        writer: a `SummaryWriter`.
        model: with latent variables, in evaluation mode.
        examples: batches of x and, where there are labels, label (B,).
        label_names: the names of the labels; () where they have none.
        step: of the training.
    """
    posteriors: list[DiagonalGaussian] = [model.infer(x) for x, _ in examples]
    means = torch.cat([posterior.mean for posterior in posteriors]).float().cpu()
    kl = torch.cat([posterior.kl().sum(1) for posterior in posteriors]).tolist()
    labels = [int(label) for _, batch in examples if batch is not None for label in batch]
    columns: dict[str, list[Any]] = {}
    if model.decoder.modality == "text" and "vocabulary" in model.codecs:
        columns["sentence"] = [_one_line(text) for x, _ in examples for text in TextCodec.of(model).decode(x)]
    if len(labels) == len(means):
        if label_names:
            columns["class"] = [label_names[label] if 0 <= label < len(label_names) else "none" for label in labels]
        columns["label"] = labels
    columns["KL"] = [f"{value:.4g}" for value in kl]
    columns["example"] = list(range(len(means)))
    writer.add_embedding(
        means,
        metadata=list(zip(*columns.values(), strict=True)),
        metadata_header=list(columns),
        label_img=class_thumbnails(torch.cat([x for x, _ in examples]), columns.get("label"))
        if model.decoder.modality == "image"
        else None,
        global_step=step,
        tag="posterior_means",
    )


def class_thumbnails(images: Tensor, labels: Sequence[int] | None = None) -> Tensor:
    """Thumbnails (N, 3, S, S) of images (N, C, H, W); those that are grey get the colour of their class.

    Args:
        images: in [0, 1].
        labels: N numbers of classes, where there are any; every twentieth class has the same colour.

    Example:
        >>> class_thumbnails(torch.ones(2, 1, 4, 4), [0, 1])[:, :, 0, 0].mul(255).int()
        tensor([[ 31, 119, 180],
                [255, 127,  14]], dtype=torch.int32)
    """
    small = thumbnails(images)
    if labels is None or images.shape[1] == 3:
        return small
    colours = torch.tensor([CLASS_COLOURS[label % len(CLASS_COLOURS)] for label in labels])
    return small * colours[:, :, None, None]


STRONG = [to_rgb(colour) for colour in TABLEAU_COLORS.values()]
CLASS_COLOURS = [*STRONG, *([(1 + channel) / 2 for channel in colour] for colour in STRONG)]
"""Ten strong colours, and the same ten pale."""


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_SENTENCE else words[: LONGEST_SENTENCE - 3] + "..."
