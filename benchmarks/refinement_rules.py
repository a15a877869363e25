"""The two rules of refinement, ours and the published one: the bound along the steps, after training, and the time.

    python benchmarks/refinement_rules.py

An SA-VAE of each rule and each gradient through the steps is trained on the 4,000 embedded digits, with a VAE beside
them: from the same weights, on the same batches, taking turns step by step, so that the times compare. Then each
refines the validation digits by its own rule, and the VAE's posteriors are refined by both. The published rule depends
on the batch: training and validation take batches of one size, the authors' 50.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor

from datamodules import MNISTDigitsDataModule
from skipvae import VAE
from skipvae.decoders import MLPDecoder
from skipvae.encoders import MLPEncoder
from skipvae.inference import Amortized, SemiAmortized

RULES = {"ours": "natural", "published": "published"}
GRADIENTS = {"exact": "exact", "finite differences": "finite_difference"}
SHOWN = 0, 1, 2, 5, 10, 20


def contenders(arguments: argparse.Namespace, seed: int) -> dict[str, VAE]:
    """Models by label, all with the same weights."""
    inference = {"VAE": Amortized()} | {
        f"{rule}, {gradient}": SemiAmortized(arguments.num_steps, rule=RULES[rule], gradient=GRADIENTS[gradient])  # type: ignore[arg-type]
        for rule in RULES
        for gradient in GRADIENTS
    }
    models = {}
    for label, method in inference.items():
        torch.manual_seed(seed)
        encoder = MLPEncoder(20, hidden_dim=arguments.hidden_dim)
        decoder = MLPDecoder(20, hidden_dim=arguments.hidden_dim, num_layers=arguments.num_layers, skip=arguments.skip)
        models[label] = VAE(encoder, decoder, method)
    return models


def train(models: dict[str, VAE], data: MNISTDigitsDataModule, epochs: int, seed: int) -> dict[str, list[float]]:
    """Milliseconds of each training step, by label."""
    optimizers = {label: torch.optim.Adam(model.parameters(), lr=1e-3, fused=True) for label, model in models.items()}
    times: dict[str, list[float]] = {label: [] for label in models}
    loader = data.train_dataloader()
    for epoch in range(epochs):
        for index, (x, _) in enumerate(loader):
            for label, model in models.items():
                torch.manual_seed(10_000 * seed + 1_000 * epoch + index)
                start = time.perf_counter()
                optimizers[label].zero_grad()
                model.loss(x)["loss"].backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizers[label].step()
                times[label].append(1e3 * (time.perf_counter() - start))
    return times


@torch.no_grad()
def bound_per_step(model: VAE, rule: str, num_steps: int, data: MNISTDigitsDataModule) -> Tensor:
    """The ELBO of the validation digits before each step and after the last, nats, (num_steps + 1,)."""
    refine = SemiAmortized(num_steps, rule=rule).eval()  # type: ignore[arg-type]
    model.eval()
    curves = [refine(model.encoder, model.decoder, x).elbo_per_step for x, _ in data.val_dataloader()]
    return torch.cat([curve for curve in curves if curve is not None]).mean(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden_dim", type=int, default=256)
    parser.add_argument("--num_layers", type=int, default=2, help="of the decoder")
    parser.add_argument("--skip", action="store_true")
    parser.add_argument("--num_steps", type=int, default=20)
    parser.add_argument("--batch_size", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    times: dict[str, list[float]] = {}
    curves: dict[str, list[Tensor]] = {}
    for seed in arguments.seeds:
        data = MNISTDigitsDataModule(batch_size=arguments.batch_size, eval_batch_size=arguments.batch_size, seed=seed)
        data.setup()
        models = contenders(arguments, seed)
        for label, milliseconds in train(models, data, arguments.epochs, seed).items():
            times.setdefault(label, []).extend(milliseconds)
        for label, model in models.items():
            for rule in RULES if label == "VAE" else (label.split(",")[0],):
                row = f"VAE, then {rule}" if label == "VAE" else label
                curves.setdefault(row, []).append(bound_per_step(model, RULES[rule], arguments.num_steps, data))
    shown = [step for step in SHOWN if step < arguments.num_steps] + [arguments.num_steps]
    print(
        f"MLP of {arguments.num_layers} x {arguments.hidden_dim}, skip {arguments.skip}, {arguments.num_steps} steps "
        f"of inference, batch {arguments.batch_size}, {arguments.epochs} epochs of 4,000 digits, "
        f"{len(arguments.seeds)} seeds, {arguments.threads} threads, torch {torch.__version__}"
    )
    print(f"{'validation ELBO after step':32s}" + "".join(f"{step:>9d}" for step in shown) + "   ms a training step")
    for row, of_seeds in curves.items():
        mean = torch.stack(of_seeds).mean(0)
        used = times["VAE" if row.startswith("VAE") else row]
        quarters = statistics.quantiles(used, n=4)
        print(
            f"{row:32s}" + "".join(f"{mean[step]:9.2f}" for step in shown),
            f"  {statistics.median(used):.1f} [{quarters[0]:.1f}..{quarters[2]:.1f}]",
        )
        print(f"{'':32s}" + f"seeds at the last step: {', '.join(f'{curve[-1]:.2f}' for curve in of_seeds)}")


if __name__ == "__main__":
    main()
