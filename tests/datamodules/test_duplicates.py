"""Examples that a split shares with the training split are counted, whatever they are."""

import logging

import numpy as np

from datamodules import ImageDataModule, TextDataModule
from datamodules.images import Examples, Splits


def test_images_and_sentences_that_stand_in_the_training_split_are_reported(tmp_path, caplog):
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
    assert [message for message in caplog.messages if "also" in message] == [
        "test split: 3 of 4 examples are also in the training split: the model may know them by heart"
    ]
    facts = {"val": 0, "test": 0.75}
    assert {name: fact["duplicate_fraction"] for name, fact in repeating.split_facts.items()} == facts
    caplog.clear()
    drawn = TextDataModule(train=str(path), batch_size=1)
    drawn.setup()
    sizes = {name: len(drawn.splits[name].ids) for name in ("val", "test")}
    assert [message for message in caplog.messages if "also" in message] == [
        f"{name} split: {size} of {size} examples are also in the training split: the model may know them by heart"
        for name, size in sizes.items()
    ]
    assert drawn.split_facts["test"]["duplicate_fraction"] == 1
