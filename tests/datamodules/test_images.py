from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from datamodules import (
    FashionMNISTDataModule,
    ImageDataModule,
    LinearGaussianDataModule,
    MNISTDataModule,
    MNISTDigitsDataModule,
    OmniglotDataModule,
)
from datamodules.images import Examples, Splits
from datamodules.randomness import random_words


class Noise(ImageDataModule):
    """40 / 12 / 13 grey images; the label is the row."""

    image_shape = (2, 3, 5)

    def load(self) -> Splits:
        def examples(count: int, seed: int) -> Examples:
            grey = random_words(seed, torch.arange(count * 30)) & 255
            return Examples(grey.to(torch.uint8).view(count, 2, 3, 5), torch.arange(count))

        return Splits(examples(40, 1), examples(12, 2), examples(13, 3))


def ready(**options: Any) -> Noise:
    data = Noise(**{"batch_size": 8, "eval_batch_size": 5, "binarize": "dynamic", **options})
    data.setup()
    return data


def in_order(loader: Any) -> torch.Tensor:
    """The images of an epoch by their rows, (N, C, H, W)."""
    images, labels, *_ = map(torch.cat, zip(*loader, strict=True))
    return images[labels.argsort()]


def test_batches_have_the_promised_shapes_and_types() -> None:
    data = ready()
    image, label = next(iter(data.train_dataloader()))
    assert (image.shape, image.dtype, label.shape, label.dtype) == ((8, 2, 3, 5), torch.float32, (8,), torch.int64)
    assert [len(label) for _, label in data.val_dataloader()] == [5, 5, 2]
    assert [len(label) for _, label in data.test_dataloader()] == [5, 5, 3]
    assert (len(data.train_dataloader()), len(data.val_dataloader()), len(data.test_dataloader())) == (5, 3, 3)


def test_the_last_shorter_training_batch_is_kept_where_it_is_asked_for() -> None:
    for drop_last, expected in ((True, [9] * 4), (False, [9] * 4 + [4])):
        data = ready(batch_size=9, drop_last=drop_last)
        assert [len(label) for _, label in data.train_dataloader()] == expected


def test_predict_batches_carry_the_row_of_the_test_split() -> None:
    data = ready()
    images, labels, ids = map(torch.cat, zip(*data.predict_dataloader(), strict=True))
    assert ids.tolist() == list(range(13))
    assert images.equal(in_order(data.test_dataloader()))
    assert labels.equal(ids)


def test_binarisation_is_a_property_of_the_corpus() -> None:
    drawings = (MNISTDigitsDataModule(), MNISTDataModule(), OmniglotDataModule())
    assert {data.binarize for data in drawings} == {"dynamic"}
    assert {data.binarize for data in (Noise(), FashionMNISTDataModule(), LinearGaussianDataModule())} == {"none"}


def test_grey_values_are_kept_without_binarisation() -> None:
    data, grey = ready(binarize="none"), Noise().load()
    assert in_order(data.train_dataloader()).equal(grey.train.images / 255)
    assert in_order(data.val_dataloader()).equal(grey.val.images / 255)
    assert in_order(data.test_dataloader()).equal(grey.test.images / 255)


def test_dynamic_draws_anew_each_epoch_and_static_does_not() -> None:
    for binarize, anew in [("dynamic", True), ("static", False)]:
        loader = ready(binarize=binarize).train_dataloader()
        first, second = in_order(loader), in_order(loader)
        assert set(first.unique().tolist()) == {0, 1}
        assert (not second.equal(first)) == anew


def test_dynamic_begins_with_what_static_keeps() -> None:
    assert in_order(ready(binarize="dynamic").train_dataloader()).equal(
        in_order(ready(binarize="static").train_dataloader())
    )


def test_draws_follow_the_grey_values() -> None:
    loader, grey = ready().train_dataloader(), Noise().load().train.images / 255
    epochs = 400
    mean = torch.stack([in_order(loader) for _ in range(epochs)]).mean(0)
    error = (mean - grey) / (grey * (1 - grey) / epochs).sqrt().clamp(min=1e-9)
    assert error.abs().max() < 5  # of 1,200 standard errors


def test_the_seed_is_of_the_training_images_and_their_order_alone() -> None:
    one, other = ready(seed=1), ready(seed=2)
    assert not in_order(one.train_dataloader()).equal(in_order(other.train_dataloader()))
    assert not next(iter(one.train_dataloader()))[1].equal(next(iter(other.train_dataloader()))[1])
    for binarize in ("static", "dynamic"):
        again = ready(seed=3, binarize=binarize)
        assert in_order(again.val_dataloader()).equal(in_order(one.val_dataloader()))
        assert in_order(again.test_dataloader()).equal(in_order(one.test_dataloader()))


def test_validation_and_test_have_noise_of_their_own() -> None:
    class Same(Noise):
        def load(self) -> Splits:
            return Splits(*[Examples(torch.full((5, 2, 3, 5), 128, dtype=torch.uint8), torch.arange(5))] * 3)

    data = Same(batch_size=5, binarize="dynamic")
    data.setup()
    draws = [in_order(loader) for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())]
    assert not draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])
    assert not draws[1].equal(draws[2])


def test_an_image_is_drawn_the_same_whatever_the_batches() -> None:
    assert in_order(ready(batch_size=10).train_dataloader()).equal(in_order(ready(batch_size=4).train_dataloader()))


def test_train_size_takes_the_first_examples() -> None:
    data = ready(train_size=16)
    labels = torch.cat([label for _, label in data.train_dataloader()])
    assert sorted(labels.tolist()) == list(range(16))
    assert len(data.val_dataloader()) == 3


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"eval_batch_size": -1}, {"train_size": 0}, {"train_size": 41}, {"binarize": "sometimes"}],
)
def test_arguments_out_of_range_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ready(**options)


def test_asking_for_batches_before_setup_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="setup"):
        Noise().train_dataloader()


class Watcher(LightningModule):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[torch.Tensor] = []
        self.evaluated: list[torch.Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen.append(batch[0].cpu())
        assert batch[0].device == self.device
        return self.weight * batch[0].sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.evaluated.append(batch[1].cpu())

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**options: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(**{"accelerator": "cpu", "max_epochs": 2, "enable_checkpointing": False, **quiet, **options})


def test_a_resumed_run_sees_the_same_pixels(tmp_path: Path) -> None:
    straight, stopped, resumed = Watcher(), Watcher(), Watcher()
    trainer(max_steps=10, max_epochs=-1).fit(straight, datamodule=ready())
    first = trainer(max_steps=7, max_epochs=-1)
    first.fit(stopped, datamodule=ready())
    first.save_checkpoint(tmp_path / "stopped.ckpt")
    trainer(max_steps=10, max_epochs=-1).fit(resumed, datamodule=ready(), ckpt_path=tmp_path / "stopped.ckpt")
    assert torch.cat(stopped.seen + resumed.seen).equal(torch.cat(straight.seen))


def test_overfitting_means_the_same_batch_in_each_epoch() -> None:
    model = Watcher()
    trainer(overfit_batches=1, limit_val_batches=0).fit(model, datamodule=ready())
    assert len(model.seen) == 2
    assert model.seen[0].equal(model.seen[1])


def test_limited_validation_always_takes_the_first_batches() -> None:
    model = Watcher()
    trainer(limit_val_batches=2, num_sanity_val_steps=0).fit(model, datamodule=ready())
    assert [labels.tolist() for labels in model.evaluated] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]] * 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_same_batches_and_holds_the_data() -> None:
    on_cpu, on_gpu, data = Watcher(), Watcher(), ready()
    trainer().fit(on_cpu, datamodule=ready())
    trainer(accelerator="gpu", devices=1).fit(on_gpu, datamodule=data)
    assert torch.cat(on_gpu.seen).equal(torch.cat(on_cpu.seen))
    assert next(iter(data.train_dataloader()))[0].device.type == "cuda"
