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
    Repeating(batch_size=1).setup()
    assert [message for message in caplog.messages if "also" in message] == [
        "3 of 4 test examples are also in the training split: the model may know them by heart"
    ]
    caplog.clear()
    drawn = TextDataModule(train=str(path), batch_size=1)
    drawn.setup()
    sizes = {name: len(drawn.splits[split].ids) for name, split in {"validation": "val", "test": "test"}.items()}
    assert [message for message in caplog.messages if "also" in message] == [
        f"{size} of {size} {name} examples are also in the training split: the model may know them by heart"
        for name, size in sizes.items()
    ]
