"""Metadata and thumbnails of the points in the projector."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.utils.tensorboard import SummaryWriter

from skipvae.callbacks import projector
from skipvae.callbacks.projector import class_thumbnails, write_points
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from tests.callbacks.tiny import make_model


def written(folder: Path, model: Any, examples: Any, names: Any = ()) -> tuple[list[list[str]], Path]:
    with SummaryWriter(str(folder)) as writer, torch.no_grad():
        write_points(writer, model, examples, names, step=3)
    points = folder / "00003" / "posterior_means"
    return [line.split("\t") for line in (points / "metadata.tsv").read_text().splitlines()], points


def test_images_have_class_names_labels_and_kl(tmp_path: Path) -> None:
    model = make_model().eval()
    x, label = torch.rand(5, 1, 4, 4), torch.tensor([1, 0, 1, -1, 0])
    (header, *rows), points = written(tmp_path, model, [(x[:3], label[:3]), (x[3:], label[3:])], ("cat", "dog"))
    assert header == ["class", "label", "KL", "example"]
    assert [row[0] for row in rows] == ["dog", "cat", "dog", "none", "cat"]
    assert [row[1] for row in rows] == ["1", "0", "1", "-1", "0"]
    kl = model.infer(x).kl().sum(1).tolist()
    assert [float(row[2]) for row in rows] == pytest.approx(kl, rel=1e-3)
    assert [row[3] for row in rows] == ["0", "1", "2", "3", "4"]
    assert Image.open(points / "sprite.png").size == (12, 12)


def test_sentences_are_shown(tmp_path: Path) -> None:
    words = {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3, "light": 4, "dark": 5}
    vocabulary = Tokenizer(WordLevel(words, unk_token="<unk>")).to_str()
    model = SimpleNamespace(
        codecs={"vocabulary": vocabulary},
        decoder=SimpleNamespace(modality="text"),
        infer=lambda x: DiagonalGaussian(torch.zeros(len(x), 2), torch.zeros(len(x), 2)),
    )
    long = torch.tensor([[2, *[5] * 60, 3]])
    (header, *rows), _ = written(tmp_path, model, [(torch.tensor([[2, 4, 5, 3]]), None), (long, None)])
    assert header == ["sentence", "KL", "example"]
    assert rows[0] == ["light dark", "0", "0"]
    assert len(rows[1][0]) == projector.LONGEST_SENTENCE


def test_grey_images_have_the_colour_of_their_class_and_others_their_own() -> None:
    grey = class_thumbnails(torch.full((3, 1, 2, 2), 0.5), [0, 1, 20])
    assert torch.equal(grey[0], grey[2])
    assert not torch.equal(grey[0], grey[1])
    assert torch.equal(class_thumbnails(torch.full((2, 1, 2, 2), 0.5)), torch.full((2, 3, 2, 2), 0.5))
    colour = torch.rand(2, 3, 2, 2)
    assert torch.equal(class_thumbnails(colour, [0, 1]), colour)
