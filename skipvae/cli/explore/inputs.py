"""Examples of the run's data, and inputs of the user's own, as x."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from skipvae.cli.generate_options import Explore
from skipvae.cli.trained_model import data_of, encoded, own_inputs, settings_of
from skipvae.models import VAE
from skipvae.models.test_split import Examples, first_test_examples
from skipvae.models.training_split import first_training_examples
from skipvae.persistence import saved_runs
from skipvae.persistence.atomic import atomic_write
from skipvae.table.codec import TableCodec
from skipvae.training.codecs import check_same_codecs, codecs_of

MAX_TEST_EXAMPLES = 1000


def splits_of(model: VAE, options: Explore) -> tuple[dict[str, Examples], str]:
    """Examples of the splits "test" and "training", and why one is missing, or "".

    Raises:
        ValueError: if the user's own settings of the data do not work; the run's data may be elsewhere by now.
    """
    read: dict[str, Callable[[Any], Examples]] = {
        "test": lambda data: _test_examples(data, model.decoder.modality == "text"),
        "training": lambda data: first_training_examples(data, options.num),
    }
    splits, missing = dict[str, Examples](), dict[str, list[str]]()
    for split, examples in read.items():
        try:
            data = data_of(options)
            found = examples(data)
            check_same_codecs(model.codecs, codecs_of(data), saved_runs.checkpoint_at(options.ckpt_path))
        except Exception as error:  # of code that may not be ours, and no reason to do without the rest of the page
            if options.data is not None:
                raise
            missing.setdefault(" ".join(str(error).split()), []).append(split)
        else:
            splits[split] = found
    return splits, "; ".join(f"no {' and '.join(names)} examples: {reason}" for reason, names in missing.items())


def _test_examples(data: Any, text: bool) -> Examples:
    """The first test examples, or sentences from all over the split, which is sorted by length."""
    x, label = first_test_examples(data, None if text else MAX_TEST_EXAMPLES)
    step = -(-len(x) // MAX_TEST_EXAMPLES)
    return Examples(x[::step], None if label is None else label[::step])


def own_input(model: VAE, ckpt_path: str, name: str, content: bytes) -> Tensor:
    """The x (1, ...) of an input that the user typed or uploaded, read as `skipvae encode` reads its file.

    Args:
        model: the model.
        ckpt_path: of the model.
        name: of the file, whose ending says what it holds.
        content: of the file.

    Raises:
        ValueError: if it cannot be used; the message says why.
    """
    if not content.strip():
        raise ValueError(f"the {name} is empty: give one")
    with TemporaryDirectory() as folder:
        path = Path(folder, Path(name).name)
        with atomic_write(path, "wb") as file:
            file.write(content)
        try:
            inputs = list(own_inputs(model, [str(path)], ckpt_path))
        except (ValueError, OSError) as error:
            raise ValueError(str(error).replace(str(path), name)) from error
    if len(inputs) != 1:
        raise ValueError(f"{name} holds {len(inputs)} inputs: give one")
    x, checked = encoded(model, inputs, settings_of(model, ckpt_path))
    if x is None:
        raise ValueError(f"{name} cannot be used: {checked[0].reason}")
    return x


def typed(model: VAE, text: str) -> tuple[str, bytes]:
    """A name and the content of a file that holds a typed sentence, or a pasted row of a table.

    A row may come with the line of column names above it; without, its values are in the order of the columns.

    Example:
        >>> from skipvae import VAE
        >>> from skipvae.decoders import MLPDecoder
        >>> from skipvae.encoders import MLPEncoder
        >>> from skipvae.likelihoods import Gaussian
        >>> sizes = {"latent_dim": 1, "image_shape": (2,), "hidden_dim": 4}
        >>> typed(VAE(MLPEncoder(**sizes), MLPDecoder(**sizes, likelihood=Gaussian())), "1.5; 2")
        ('row', b'x_0;x_1\\r\\n1.5; 2\\r\\n')
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if model.decoder.modality == "text":
        return "sentence", " ".join(lines).encode()
    if len(lines) == 1:
        delimiter = next((mark for mark in "\t;" if mark in lines[0]), ",")
        header = io.StringIO()
        csv.writer(header, delimiter=delimiter).writerow(TableCodec.of(model).names)
        lines = [header.getvalue().rstrip("\r\n"), *lines]
    return "row", "".join(f"{line}\r\n" for line in lines).encode()
