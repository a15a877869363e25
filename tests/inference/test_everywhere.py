from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from skipvae import VAE
from skipvae.inference import SVI, Amortized, SemiAmortized
from skipvae.inference.likelihood_gradient import LogLikelihood
from tests import command_line
from tests.callbacks.tiny import read_events
from tests.inference.models import (
    GRADIENTS,
    gradients,
    lstm,
    mlp,
    relative_error,
)

# -- where it runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("make", [mlp, lstm])
def test_infer_is_the_same_where_autograd_is_off(
    mode: Any, make: Any, images: torch.Tensor, sentences: torch.Tensor
) -> None:
    x = sentences if make is lstm else images
    model = make(SemiAmortized(4)).eval()

    def infer() -> torch.Tensor:
        torch.manual_seed(0)
        return model.infer(x.clone()).mean

    expected = infer()
    with mode():
        found = infer()
        assert not found.requires_grad
        assert model.log_likelihood(x.clone(), 3).isfinite().all()
        model.test_step((x.clone(),), 0)
        model.predict_step((x.clone(), x, x), 0)
    torch.testing.assert_close(found, expected)
    results = model.evaluation.compute()
    curve = results["elbo_per_step"]
    assert len(curve) == 5
    assert results["amortization_gap"] == curve[-1] - curve[0] != 0


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("make", [mlp, lstm])
def test_bfloat16(gradient: Any, make: Any, images: torch.Tensor, sentences: torch.Tensor) -> None:
    x = sentences if make is lstm else images
    model = make(SemiAmortized(3, gradient=gradient))
    expected = gradients(model, x)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        model.decoder(x, torch.zeros(len(x), 3))  # leaves weights of inference mode in autocast's cache
        assert model.infer(x).mean.dtype == torch.float32
    model.zero_grad()
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(x)["loss"]
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    if make is lstm or gradient != "finite_difference":  # which would also see the kinks of the MLP
        assert relative_error(found, expected) < 0.2  # a weight of bfloat16 is off by up to 1/256
    assert all(p.grad.dtype == torch.float32 and p.grad.abs().sum() > 0 for p in model.parameters())


def test_dropout_is_held_fixed_and_random_numbers_outside_go_on() -> None:
    torch.manual_seed(0)
    decoder = lstm(Amortized()).decoder
    x, z = torch.tensor([[2, 5, 6, 7, 3]]), torch.zeros(1, 3)
    held = LogLikelihood(decoder.requires_grad_(False), x)
    before = torch.get_rng_state()
    assert held(z) == held(z) == held(z)
    assert torch.equal(torch.get_rng_state(), before)
    assert len({float(LogLikelihood(decoder, x)(z)) for _ in range(5)}) > 1
    decoder.eval()
    assert len({float(LogLikelihood(decoder, x)(z)) for _ in range(5)}) == 1


def test_an_example_does_not_depend_on_its_batch(images: torch.Tensor) -> None:
    model = mlp(SemiAmortized(4, max_grad_norm=0.5))
    results = []
    for rest in (images[1:5], images[6:10]):
        torch.manual_seed(0)
        results.append(model.infer(torch.cat([images[:1], rest])).mean[0])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("make", [mlp, lstm])
@pytest.mark.parametrize("inference", [SemiAmortized, SVI])
def test_an_example_has_one_posterior_wherever_it_stands(
    make: Any, inference: Any, images: torch.Tensor, sentences: torch.Tensor
) -> None:
    """In any place, batch, padding and state of the random number generator; in training its noise is drawn."""
    x = sentences if make is lstm else images
    model = make(inference(4, learning_rate=3.0))
    again = torch.cat([x[3:5], x[:1], x[:1]])
    if make is lstm:
        again = torch.nn.functional.pad(again, (0, 5))
    first, second = model.infer(x), model.infer(again)
    for found, expected in ((second.mean, first.mean), (second.logvar, first.logvar)):
        torch.testing.assert_close(found, expected[[3, 4, 0, 0]], rtol=1e-4, atol=1e-5)
    drawn = [model._inferred(x).posterior.mean for _ in range(2)]
    assert (drawn[0] - drawn[1]).abs().min() > 0


def train_in_a_process(rank: int, gradient: str, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2)
    model = mlp(SemiAmortized(3, gradient=gradient))
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(rank)).round()
    model.forward = lambda x: model.loss(x)["loss"]
    parallel = DistributedDataParallel(model)
    for step in range(2):  # DDP complains of unused parameters in the second
        parallel.zero_grad()
        torch.manual_seed(10 * step + rank)
        parallel(x).backward()
    torch.save([p.grad for p in model.parameters()], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_two_processes_average_their_gradients(gradient: Any, tmp_path: Path) -> None:
    mp.start_processes(train_in_a_process, (gradient, str(tmp_path)), nprocs=2, start_method="fork")  # type: ignore[attr-defined]
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    model, alone = mlp(SemiAmortized(3, gradient=gradient)), []
    for rank in range(2):
        x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(rank)).round()
        alone.append(gradients(model, x, seed=10 + rank).values())
    for first, second, a, b in zip(*found, *alone, strict=True):
        torch.testing.assert_close(first, second)
        torch.testing.assert_close(first, (a + b) / 2)


# -- by the command line ----------------------------------------------------------------------------------------------


def test_a_skip_sa_vae_by_overrides_of_the_same_file(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inference = ("--model.inference=skipvae.inference.SemiAmortized", "--model.inference.num_steps=5")
    trainer = command_line.run(
        ["fit", *command_line.TINY, "--trainer.max_epochs=2", "--model.decoder.skip=true", *inference]
    ).trainer
    assert trainer.callback_metrics["val/amortization_gap"] > 0
    assert trainer.callback_metrics["val/diverged"] == 0
    events = read_events(command_line.RUN)
    assert "latents/elbo_per_step" in events.Tags()["images"]
    checkpoint = command_line.RUN / "checkpoints" / "last.ckpt"
    model = VAE.load_from_checkpoint(checkpoint)
    assert model.decoder.skip
    assert model.inference.spec["init_args"]["num_steps"] == 5
    again = command_line.plain(["test", f"--ckpt_path={checkpoint}", "--trainer.enable_progress_bar=false"])
    assert again.model.inference.num_steps == 5
    results = again.model.results
    assert len(results["elbo_per_step"]) == 6
    assert results["amortization_gap"] == results["elbo_per_step"][-1] - results["elbo_per_step"][0]
    assert "amortization_gap" in capsys.readouterr().out
    x = torch.rand(8, 1, 28, 28).round()
    assert command_line.log_likelihood(model, x) == command_line.log_likelihood(again.model.eval(), x)


def test_svi_by_an_override_of_the_same_file(workspace: Path) -> None:
    command_line.fit("--model.inference=skipvae.inference.SVI", "--model.inference.num_steps=3")
    model = VAE.load_from_checkpoint(command_line.RUN / "checkpoints" / "last.ckpt")
    assert model.encoder is None
    assert model.infer(torch.zeros(2, 1, 28, 28)).mean.shape == (2, 3)
