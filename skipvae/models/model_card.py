"""The model card of a shared model: its results, the config of its run, and how to load it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skipvae.metrics.registry import METRICS, meanings
from skipvae.persistence.saved_runs import config_of, folder_of
from skipvae.persistence.spec import class_path
from skipvae.persistence.strict_yaml import dump_text

PIPELINES = {"image": "unconditional-image-generation", "text": "text-generation"}
"""The hub's names of what models of a modality are for."""

LOADING = """\
```python
# pip install 'skipvae[hub]'
import skipvae

model = skipvae.{kind}.from_pretrained("{name}")
model.sample(4)
```
"""


def card_of(model: Any, name: str, license: str = "mit", tags: list[str] | None = None, **header: Any) -> str:
    """The text of a README.md.

    Args:
        model: the model.
        name: of its folder or repository.
        license: of the model.
        tags: further ones.
        **header: further entries of the card's header, such as `datasets`.
    """
    decoder, kind = model.decoder, type(model).__name__
    own = ["skipvae", "autoregressive" if kind == "Autoregressive" else "vae", decoder.modality]
    own += ["skip-vae"] if decoder.skip else []
    pipeline = {"pipeline_tag": PIPELINES[decoder.modality]} if decoder.modality in PIPELINES else {}
    header = {"library_name": "skipvae", "license": license, "tags": own + (tags or []), **pipeline, **header}
    base = kind if kind in ("VAE", "Autoregressive") else "models.GenerativeModel"
    parts = [
        f"---\n{dump_text(header)}---",
        f"# {name}",
        _summary(model),
        "## Use",
        LOADING.format(kind=base, name=name),
    ]
    folder = folder_of(model.source) if model.source is not None else None
    if folder is not None:
        parts += ["## Results", *_results(model, folder), "## Training", _training(model.source)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _summary(model: Any) -> str:
    decoder = model.decoder
    kind = "SKIP-VAE" if decoder.skip else "VAE" if decoder.latent_dim else "model without latent variables"
    latent = f"{decoder.latent_dim} latent variables and " * bool(decoder.latent_dim)
    count = sum(weight.numel() for weight in model.parameters())
    parts = {name: getattr(model, name, None) for name in ("encoder", "decoder", "inference")}
    named = ", ".join(f"{name} `{class_path(type(part))}`" for name, part in parts.items() if part is not None)
    return f"A {kind} with {latent}{count:,} parameters: {named}."


def _results(model: Any, folder: Path) -> Iterator[str]:
    """The results of the test of this very checkpoint as a table with units."""
    try:
        results = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        tested = Path(results["checkpoint"] or "").name
    except (OSError, ValueError, KeyError, TypeError):
        yield "This model has not been tested."
        return
    if tested != model.source.name:
        yield f"This model has not been tested, but another checkpoint of its run has: {tested or 'without a name'}."
        return
    metrics = {metric.key: metric for metric in METRICS}
    lines = ["| metric | value | unit | meaning |", "| --- | ---: | --- | --- |"]
    for key, meaning in meanings(results, num_importance_samples=results.get("num_importance_samples")):
        value, error = results[key], results.get(f"{key}_stderr")
        shown = f"{value}" if isinstance(value, (int, str)) else f"{value:.3f}"
        shown += f" ± {error:.3f}" if error is not None else ""
        title, text = (each.replace("|", "\\|") for each in (metrics[key].title or key, meaning))
        lines.append(f"| {title} | {shown} | {metrics[key].unit} | {text} |")
    measure = f" log p(x) is {results['measure']}." if results.get("measure") else ""
    data = results.get("data")  # of the command line its config, else its class
    data = data.get("class_path") if isinstance(data, dict) else data
    data = f" of `{data}`" if data else ""
    examples = f"On the {results.get('num_examples', 0):,} test examples{data}"
    yield f"{examples}, nats per example, ± the standard error.{measure}"
    yield "\n".join(lines)


def _training(checkpoint: Path) -> str:
    return (
        "`training.yaml` is the config of the run, with file names in place of paths:\n\n"
        "```sh\nskipvae fit --config training.yaml\n```\n\n"
        f"<details><summary>training.yaml</summary>\n\n```yaml\n{config_text(checkpoint)}```\n\n</details>"
    )


def config_text(checkpoint: Path | None) -> str | None:
    """The config of the run that a checkpoint lies in, with file names in place of paths; None if there is none."""
    folder = folder_of(checkpoint) if checkpoint is not None else None
    return None if folder is None else dump_text(_without_paths(config_of(folder)))


def _without_paths(value: Any) -> Any:
    """A config in which strings with folders have their last part alone: they say where things lie on one machine.

    Example:
        >>> _without_paths({"data": {"train": "texts/verses.txt"}, "lr": 0.1})
        {'data': {'train': 'verses.txt'}, 'lr': 0.1}
    """
    if isinstance(value, dict):
        return {key: _without_paths(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_paths(part) for part in value]
    return os.path.basename(value.rstrip(os.sep)) if isinstance(value, str) and os.sep in value else value
