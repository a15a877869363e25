"""`skipvae explore`: a local page to look into a trained model."""

import sys
from functools import partial
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from skipvae.cli.explore.explorer import Explorer
from skipvae.cli.explore.inputs import own_input, splits_of
from skipvae.cli.generate_options import Explore
from skipvae.cli.trained_model import load_model
from skipvae.models import VAE
from skipvae.persistence import saved_runs


def explore(options: Explore) -> None:
    """Encodes training examples, then serves the page until Ctrl-C."""
    if find_spec("bokeh") is None:
        raise ModuleNotFoundError("explore needs bokeh: pip install 'skipvae[explore]'")
    model: VAE = load_model(options, VAE)
    splits, reason = splits_of(model, options)
    if reason:
        print(reason, file=sys.stderr)
    screen = Console(stderr=True)
    columns = (TextColumn("encoding training examples"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        train = splits.get("training")
        task = progress.add_task("encoding", total=0 if train is None else len(train.x))
        explorer = Explorer(model, splits, partial(progress.advance, task), options.seed)

    from skipvae.cli.explore.page import Page
    from skipvae.cli.explore.server import serve

    own = partial(own_input, model, options.ckpt_path)
    title = str(saved_runs.checkpoint_at(options.ckpt_path))
    serve(partial(Page, explorer, own, title, reason), options.port, options.open)
