"""Schedules of the KL weight and of the learning rate."""

import torch
from torch import nn

from skipvae.callbacks.kl_annealing import EpochLengths, LinearKLAnnealing
from skipvae.schedulers import HalveOnPlateau
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
