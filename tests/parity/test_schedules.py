"""Schedules of the KL weight and of the learning rate."""

import torch
from torch import nn

from skipvae.callbacks.kl_annealing import LinearKLAnnealing
from skipvae.training.epochs import EpochLengths
from skipvae.training.schedulers import HalveAndReload, HalveOnPlateau
from tests.parity.arrays import Arrays, each_file

SCHEDULES = each_file("schedules")


@SCHEDULES
def test_kl_weight_of_text(name: str) -> None:
    arrays = Arrays(name)
    annealing, steps = LinearKLAnnealing(start=0.1, warmup_epochs=9, rises_first=True), len(arrays["text.beta"])
    epochs = EpochLengths(len(arrays["text.beta_tenth_epoch"]))
    weights = torch.tensor([annealing.weight(step, epochs) for step in range(10 * steps // 9)], dtype=torch.float64)
    arrays.check("text.beta", weights[:steps])
    arrays.check("text.beta_tenth_epoch", weights[steps:])


@SCHEDULES
def test_learning_rate_of_text(name: str) -> None:
    arrays = Arrays(name)
    last, best, rates, final = [], [], torch.full_like(arrays["text.learning_rate"], torch.nan), []
    for curve, validation in enumerate(arrays["text.validation"].tolist()):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=float(arrays["text.learning_rate"][curve, 0]))
        scheduler = HalveOnPlateau(optimizer)
        epochs = list[float]()
        for epoch, value in enumerate(validation):
            rates[curve, epoch] = optimizer.param_groups[0]["lr"]
            scheduler.step(-value)  # theirs is a perplexity, ours a bound: more is better
            epochs.append(value)
            if scheduler.finished:
                break
        last.append(len(epochs))
        best.append(1 + epochs.index(min(epochs)))
        final.append(optimizer.param_groups[0]["lr"])
    arrays.check("text.learning_rate", rates)
    arrays.check("text.learning_rate_after_last_epoch", torch.tensor(final))
    arrays.check("text.last_epoch", torch.tensor(last))
    arrays.check("text.best_epoch", torch.tensor(best))


@SCHEDULES
def test_learning_rate_of_he2019_images(name: str) -> None:
    """The weight holds the number of the epoch, so that it says which epoch was saved and came back."""
    arrays = Arrays(name)
    rates = torch.full_like(arrays["he2019_images.learning_rate"], torch.nan)
    saved, reloaded = (torch.zeros_like(rates) for _ in range(2))
    last, halvings, final = [], [], []
    for curve, validation in enumerate(arrays["he2019_images.validation"].tolist()):
        model = nn.Linear(1, 1, bias=False)
        optimizer = torch.optim.Adam(model.parameters(), lr=float(arrays["he2019_images.learning_rate"][curve, 0]))
        scheduler = HalveAndReload(optimizer)
        scheduler.watch(model)
        best = None
        for epoch, value in enumerate(validation):
            nn.init.constant_(model.weight, epoch)
            optimizer.state[model.weight]["step"] = torch.tensor(1.0)
            rates[curve, epoch] = optimizer.param_groups[0]["lr"]
            scheduler.step(-value)
            if scheduler.best_weights["weight"].item() == epoch:
                best, saved[curve, epoch] = epoch, 1
            reloaded[curve, epoch] = float(not optimizer.state)
            assert model.weight.item() == (epoch if optimizer.state else best)
            if scheduler.finished:
                break
        last.append(epoch + 1)
        halvings.append(scheduler.num_halvings)
        final.append(optimizer.param_groups[0]["lr"])
    arrays.check("he2019_images.learning_rate", rates)
    arrays.check("he2019_images.saved", saved)
    arrays.check("he2019_images.reloaded_and_halved", reloaded)
    arrays.check("he2019_images.learning_rate_after_last_epoch", torch.tensor(final))
    arrays.check("he2019_images.last_epoch", torch.tensor(last))
    arrays.check("he2019_images.num_decays", torch.tensor(halvings))
