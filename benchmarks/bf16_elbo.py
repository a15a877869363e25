"""Whether training in bf16-mixed costs anything: the validation ELBO after the same epochs as in float32, some seeds.

What it is given is handed to `skipvae fit`. The LSTMs of text, and fully connected networks on the embedded digits:

    python benchmarks/bf16_elbo.py --config configs/verses/vae_small.yaml --model.decoder.skip true
    python benchmarks/bf16_elbo.py --config configs/mnist/mlp.yaml --data datamodules.MNISTDigitsDataModule \\
        --trainer.max_epochs 15

`train_text.py` and `train_images.py` say how fast either is.
"""

import argparse
import contextlib
import io
import logging
import statistics
import tempfile
import warnings

import torch

from skipvae.cli import run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--num_threads", type=int, default=2)
    args, of_fit = parser.parse_known_args()
    if not of_fit:
        parser.error("which model? For example --config configs/verses/vae_small.yaml")
    warnings.filterwarnings("ignore")
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.ERROR)
    torch.set_num_threads(args.num_threads)
    quiet = [f"--trainer.{part}=false" for part in ("logger", "enable_progress_bar", "enable_model_summary")]
    means = []
    for precision in ("32-true", "bf16-mixed"):
        elbos = []
        for seed in args.seeds:
            with tempfile.TemporaryDirectory() as folder:  # for the checkpoints
                fixed = [f"--trainer.default_root_dir={folder}", f"--trainer.precision={precision}"]
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    cli = run(["fit", *of_fit, *quiet, *fixed, f"--seed_everything={seed}"])
            elbos.append(float(cli.model.results["elbo"]))
            print(f"{precision:12s} seed {seed}: validation ELBO {elbos[-1]:.3f} nats", flush=True)
        means.append(statistics.mean(elbos))
        spread = f" ± {statistics.stdev(elbos):.3f}" if len(elbos) > 1 else ""
        print(f"{precision:12s} mean   : validation ELBO {means[-1]:.3f}{spread} nats", flush=True)
    print(f"bf16-mixed is {means[1] - means[0]:+.3f} nats from float32: {abs(means[1] / means[0] - 1):.2%}")


if __name__ == "__main__":
    main()
