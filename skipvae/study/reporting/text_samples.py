"""Text from the trained text models of a study: the same test sentences, reconstructed by each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from skipvae.models import VAE, GenerativeModel
from skipvae.study.plan import Run, Study
from skipvae.study.reporting.loaded_runs import LoadedRuns
from skipvae.study.reporting.plots import cells, name_of
from skipvae.text.codec import TextCodec

NUM_SENTENCES, MAX_LENGTH = 5, 40


def text_samples(study: Study, runs: Sequence[Run], loaded: LoadedRuns) -> str:
    """Reconstructions of a few test sentences by the first seed of each model, and a sample of those without z.

    Args:
        study: the study.
        runs: its finished runs.
        loaded: their models and examples.

    Returns:
        Text in Markdown; empty if the models are not of text.
    """
    first = [run for run in runs if run.seed == study.seeds[0]]
    lines: list[str] = []
    for varied in cells(first):
        title = name_of(varied)
        for run in (run for run in first if run.varied == varied):
            model: GenerativeModel = loaded.model(run)
            if "vocabulary" not in model.codecs:
                return ""
            if of_run := _lines_of(model, run, loaded):
                lines += [f"{run.model} {title}".strip() + ":", "", *of_run, ""]
    return "\n".join(lines)


def _lines_of(model: GenerativeModel, run: Run, loaded: LoadedRuns) -> list[str]:
    sentences = TextCodec.of(model)
    if not isinstance(model, VAE):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            sampled: Tensor = model.sample(NUM_SENTENCES, max_length=MAX_LENGTH)  # type: ignore[operator]
        return [f"- sample: {text}" for text in sentences.decode(sampled)]
    examples = loaded.examples(run)
    if examples is None:
        return []
    x = examples.x.to(model.device)
    x = x[:: max(1, len(x) // NUM_SENTENCES)][:NUM_SENTENCES]
    made = sentences.decode(model.reconstruct(x, max_length=MAX_LENGTH))
    return [f"- {given}  \n  -> {text}" for given, text in zip(sentences.decode(x), made, strict=True)]
