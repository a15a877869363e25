"""Examples that a split shares with the training split are counted, whatever they are."""

import logging
from pathlib import Path

import numpy as np
import pytest

from datamodules import ImageDataModule, TextDataModule
from datamodules.images import Examples, Splits


def test_images_and_sentences_that_stand_in_the_training_split_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Repeating(ImageDataModule):
        image_shape = (1, 2, 2)

        def load(self) -> Splits:
            images = np.random.default_rng(0).integers(0, 256, (9, 1, 2, 2), dtype=np.uint8)
            images[0, 0, 0, 0] = 255
            return Splits(Examples(images[:5]), Examples(images[5:7]), Examples(images[[7, 2, 3, 3]]))

    path = tmp_path / "lines.txt"
    path.write_text("the same\n" * 30)
    caplog.set_level(logging.INFO)
    repeating = Repeating(batch_size=1)
    repeating.setup()
    (message,) = [message for message in caplog.messages if "training split" in message]
    assert message.startswith("test split: 3 of 4 examples")
    facts = {"val": 0, "test": 0.75}
    assert {name: fact["duplicate_fraction"] for name, fact in repeating.split_facts.items()} == facts
    caplog.clear()
    drawn = TextDataModule(train=str(path), batch_size=1)
    drawn.setup()
    messages = [message for message in caplog.messages if "training split" in message]
    for name, message in zip(("val", "test"), messages, strict=True):
        size = len(drawn.splits[name].ids)
        assert message.startswith(f"{name} split: {size} of {size} examples")
    assert drawn.split_facts["test"]["duplicate_fraction"] == 1


def test_sentences_that_are_left_out_are_no_duplicates(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.txt" for name in ("train", "val", "test")}
    files["train"].write_text("a b\nfar too long a line\n")
    files["val"].write_text("a b\nc d\n")
    files["test"].write_text("far too long a line\nc d\n")
    data = TextDataModule(**{name: str(path) for name, path in files.items()}, max_length=3)
    data.setup()
    facts = {name: data.split_facts[name] for name in ("val", "test")}
    assert {name: (fact["duplicate_fraction"], fact["num_examples"]) for name, fact in facts.items()} == {
        "val": (0.5, 2),
        "test": (0.0, 1),
    }
