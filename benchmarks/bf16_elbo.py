"""Whether training in bf16-mixed costs anything: the validation ELBO after the same epochs as in float32, three seeds.

    python benchmarks/bf16_elbo.py --epochs 15

The model and the digits are those of `train_images.py`, which says how fast either is.
"""

import argparse
import logging
import statistics
import warnings

import torch
from pytorch_lightning import Trainer, seed_everything
from train_images import our_model

from datamodules import MNISTDigitsDataModule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden_dim", type=int, default=1024)
    parser.add_argument("--batch_size", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(arguments.threads)
    for precision in ("32-true", "bf16-mixed"):
        elbos = []
        for seed in (1, 2, 3):
            seed_everything(seed, verbose=False)
            model = our_model(arguments.hidden_dim)
            trainer = Trainer(
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                gradient_clip_val=5.0,
                max_epochs=arguments.epochs,
                precision=precision,
                accelerator="cpu",
            )
            trainer.fit(model, MNISTDigitsDataModule(batch_size=arguments.batch_size, seed=seed))
            elbos.append(model.results["elbo"])
        mean, sd = statistics.mean(elbos), statistics.stdev(elbos)
        result = f"{mean:.2f} +- {sd:.2f} (3 seeds)"
        print(f"{precision:12s} validation ELBO after {arguments.epochs} epochs: {result}", flush=True)


if __name__ == "__main__":
    main()
