"""What all drawing callbacks promise: training never notices, and drawing keeps to its share of the time."""

from pathlib import Path
from typing import Any

import pytest
import torch

from skipvae.callbacks import ImageGrids, LatentPictures, drawing
from skipvae.callbacks.drawing import DrawingCallback, without_side_effects
from tests.callbacks.tiny import make_loader, make_model, make_trainer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(DrawingCallback):
    """Takes ten seconds for each drawing."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        super().__init__(**options)
        self.clock, self.drawn, self.last = clock, [], []

    def draw(self, trainer: Any, pl_module: Any) -> None:
        assert not pl_module.training
        assert not torch.is_grad_enabled()
        self.drawn.append(trainer.global_step)
        self.clock.now += 10

    def draw_last(self, trainer: Any, pl_module: Any) -> None:
        self.last.append(trainer.global_step)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(drawing, "perf_counter", clock)
    return clock


def train(folder: Path, *callbacks: Any, epochs: int = 4, **options: Any) -> Any:
    model = make_model()
    trainer = make_trainer(folder, *callbacks, max_epochs=epochs, **options)
    torch.manual_seed(3)
    trainer.fit(model, make_loader(), make_loader(8))
    return model


def test_no_number_of_the_training_depends_on_the_pictures(tmp_path: Path) -> None:
    plain = train(tmp_path)
    drawn = train(tmp_path, ImageGrids(every_n_epochs=1, time_share=1e9), LatentPictures(1, time_share=1e9))
    assert plain.results == drawn.results
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, drawn.state_dict()[name]), name


def test_aside_restores_modes_and_random_numbers(tmp_path: Path) -> None:
    model = make_model().train()
    model.decoder.eval()  # frozen by its owner
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    drawn = []

    def fail() -> None:
        with without_side_effects(make_trainer(tmp_path), model):
            assert not any(module.training for module in model.modules())
            drawn.append(torch.randn(3))
            raise RuntimeError

    for _ in range(2):
        with pytest.raises(RuntimeError):
            fail()
    assert torch.equal(*drawn), "the same random numbers each time"
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(state, torch.get_rng_state())


def test_drawing_keeps_to_its_share_of_the_time(tmp_path: Path, clock: Clock) -> None:
    class Epochs(Slow):
        def on_train_epoch_start(self, *_: Any) -> None:
            self.clock.now += 100  # an epoch

    slow = Epochs(clock, every_n_epochs=1, time_share=0.02)
    train(tmp_path, slow, epochs=25)
    # The first at 100 s, before its cost is known; the next when two drawings are 2% of the time: after 1,000 s.
    assert slow.drawn == [4, 40, 60, 80, 100]
    assert slow.last == [100]


def test_draws_every_nth_epoch_and_at_the_end(tmp_path: Path, clock: Clock) -> None:
    slow = Slow(clock, every_n_epochs=2, time_share=1e9)
    train(tmp_path, slow, epochs=4)
    assert slow.drawn == [4, 12, 16], "after epochs 0 and 2, and at the end"
    assert slow.last == [16]


@pytest.mark.parametrize("options", [{"logger": False}, {"fast_dev_run": True}])
def test_draws_nothing_without_tensorboard(tmp_path: Path, clock: Clock, options: dict[str, Any]) -> None:
    slow = Slow(clock, every_n_epochs=1, time_share=1e9)
    train(tmp_path, slow, epochs=1, **options)
    assert slow.drawn == slow.last == []


def test_draws_nothing_in_validate_and_lets_go_of_the_data(tmp_path: Path, clock: Clock) -> None:
    slow = Slow(clock, every_n_epochs=1, time_share=1e9)
    train(tmp_path, slow, epochs=1)
    assert slow._kept == []
    count = len(slow.drawn)
    make_trainer(tmp_path, slow).validate(make_model(), make_loader(), verbose=False)
    assert len(slow.drawn) == count
    assert slow._kept == []


def test_keeps_the_same_first_examples(tmp_path: Path, clock: Clock) -> None:
    kept = []

    class Keeps(Slow):
        def draw(self, *_: Any) -> None:
            kept.append([torch.cat(column) for column in zip(*self._kept, strict=True)])

    train(tmp_path, Keeps(clock, every_n_epochs=1, time_share=1e9, num_kept=6), epochs=2)
    x, label = make_loader(8).dataset[:6]
    for images, labels in kept:
        assert torch.equal(images, x)
        assert torch.equal(labels, label)
    assert len(kept) == 2


def test_every_n_epochs_is_checked() -> None:
    with pytest.raises(ValueError, match="every_n_epochs is 0"):
        ImageGrids(every_n_epochs=0)
