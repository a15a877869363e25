"""Sentences from the trained text models of a study: the same test sentences, reconstructed by each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from skipvae.models import VAE, GenerativeModel
from skipvae.study.plan import Point, Study
from skipvae.study.reporting.loaded_runs import Trained
from skipvae.study.reporting.plots import cells, name_of
from skipvae.text.codec import Sentences

NUM_SENTENCES, MAX_LENGTH = 5, 40


def quotes(study: Study, points: Sequence[Point], trained: Trained) -> str:
    """Reconstructions of a few test sentences by the first seed of each model, and a sample of those without z.

    Args:
        study: what was run.
        points: the runs that are there.
        trained: where models and examples come from.

    Returns:
        Text in Markdown; empty if the models are not of text.
    """
    first = [point for point in points if point.seed == study.seeds[0]]
    lines: list[str] = []
    for varied in cells(first):
        title = name_of(varied)
        for point in (point for point in first if point.varied == varied):
            model: GenerativeModel = trained.model(point)
            if model.vocabulary is None:
                return ""
            lines += [f"{point.model} {title}".strip() + ":", "", *_lines_of(model, point, trained), ""]
    return "\n".join(lines)


def _lines_of(model: GenerativeModel, point: Point, trained: Trained) -> list[str]:
    sentences = Sentences.of(model)
    if not isinstance(model, VAE):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            sampled: Tensor = model.sample(NUM_SENTENCES, max_length=MAX_LENGTH)  # type: ignore[operator]
        return [f"- sample: {text}" for text in sentences.decode(sampled)]
    x = trained.examples(point).x.to(model.device)
    x = x[:: max(1, len(x) // NUM_SENTENCES)][:NUM_SENTENCES]
    made = sentences.decode(model.reconstruct(x, max_length=MAX_LENGTH))
    return [f"- {given}  \n  -> {text}" for given, text in zip(sentences.decode(x), made, strict=True)]
