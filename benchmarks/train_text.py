"""One training step of a text VAE: this project's against a straightforward one, side by side in one run.

The straightforward step is the published code's: z concatenated to every token, also before the vocabulary projection,
a log-softmax of the whole batch at once, a loop over positions for the loss, PyTorch's default Adam. Both train a
SKIP-VAE of the same size on the same batch; that loss and gradients agree is checked before anything is timed.

    python benchmarks/train_text.py                          # CPU, 2 threads, vocabulary 10k and 20k, hidden 1024
    python benchmarks/train_text.py --hidden_dim 512 1024 --vocab_size 10000
    python benchmarks/train_text.py --device cuda --hidden_dim 512 1024

Each trains in a process of its own; ours keep freed memory, as under a Trainer, the straightforward one treats it as
the system is used to, unless `--keep_memory`. Times alternate; a ratio is the median over the rounds, with the smallest
and largest. Peak memory is that of the process (CPU: resident memory above what it held before the model; CUDA:
allocated memory): "total" counts weights and Adam's two moments, "step" what comes on top of those.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from contenders import Contender
from torch import Tensor, nn

from skipvae.compatibility import cpu_computes_bfloat16
from skipvae.decoders import LSTMDecoder
from skipvae.encoders import LSTMEncoder
from skipvae.objectives.elbo import elbo, training_loss

LATENT_DIM, EMBEDDING_DIM = 32, 512
KINDS = ("straightforward", "ours", "ours, recompute", "ours, bf16", "ours, bf16, recompute")


class Ours(nn.Module):
    """The project's encoder and decoder."""

    def __init__(self, vocab_size: int, hidden_dim: int, recompute: bool = False) -> None:
        super().__init__()
        sizes = {"vocab_size": vocab_size, "embedding_dim": EMBEDDING_DIM, "hidden_dim": hidden_dim}
        self.encoder = LSTMEncoder(LATENT_DIM, recompute=recompute, **sizes)
        self.decoder = LSTMDecoder(LATENT_DIM, skip=True, recompute=recompute, **sizes)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return training_loss(elbo(self.decoder, x, self.encoder(x), noise))

    def arranged(self, value: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """`value` of each parameter, in the order and form of `Straightforward.parameters()`."""
        output = self.decoder.output
        modules = [self.encoder, self.decoder.embedding, self.decoder.layers, self.decoder.initial]
        projection = torch.cat([value(output.hidden.weight), value(output.latent.weight)], 1)
        return [*(value(p) for m in modules for p in m.parameters()), projection, value(output.hidden.bias)]


class Straightforward(nn.Module):
    """The same model as one would first write it."""

    def __init__(self, vocab_size: int, hidden_dim: int) -> None:
        super().__init__()
        self.enc_embedding = nn.Embedding(vocab_size, EMBEDDING_DIM)
        self.enc_lstm = nn.LSTM(EMBEDDING_DIM, hidden_dim, batch_first=True)
        self.enc_linear = nn.Linear(hidden_dim, 2 * LATENT_DIM)
        self.dec_embedding = nn.Embedding(vocab_size, EMBEDDING_DIM)
        self.dec_lstm = nn.LSTM(EMBEDDING_DIM + LATENT_DIM, hidden_dim, batch_first=True)
        self.dec_initial = nn.Linear(LATENT_DIM, hidden_dim)
        self.dec_linear = nn.Linear(hidden_dim + LATENT_DIM, vocab_size)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        hidden, _ = self.enc_lstm(self.enc_embedding(x))
        last = hidden[torch.arange(len(x)), (x != 0).sum(1) - 1]
        mean, logvar = self.enc_linear(last).chunk(2, -1)
        z = mean + (0.5 * logvar).exp() * noise
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum(1)
        inputs, targets = x[:, :-1], x[:, 1:]
        z_tokens = z.unsqueeze(1).expand(-1, inputs.shape[1], -1)
        h = torch.cat([self.dropout(self.dec_embedding(inputs)), z_tokens], -1)
        h0 = self.dec_initial(z).unsqueeze(0)
        h, _ = self.dec_lstm(h, (h0, torch.zeros_like(h0)))
        h = torch.cat([self.dropout(h), z_tokens], -1)
        log_probs = F.log_softmax(self.dec_linear(h), -1)  # (B, T, V)
        nll = 0.0
        for t in range(inputs.shape[1]):
            nll = nll + F.nll_loss(log_probs[:, t], targets[:, t], ignore_index=0, reduction="sum")
        return nll / len(x) + kl.mean()


class Step:
    """A training step of one kind."""

    def __init__(self, kind: str, vocab_size: int, hidden_dim: int, args: argparse.Namespace) -> None:
        self.device = torch.device(args.device)
        self.before = self.peak()
        self.clock = time.process_time if args.cpu_time else time.perf_counter
        self.autocast = torch.autocast(args.device, torch.bfloat16, enabled="bf16" in kind)
        if kind == "straightforward":
            self.model: nn.Module = Straightforward(vocab_size, hidden_dim).to(self.device)
            self.optimizer = torch.optim.Adam(self.model.parameters())
        else:
            self.model = Ours(vocab_size, hidden_dim, recompute="recompute" in kind).to(self.device)
            self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        torch.manual_seed(0)
        x = torch.randint(4, vocab_size, (args.batch_size, args.num_tokens + 1))
        x[:, 0], x[:, -1] = 2, 3
        self.x, self.noise = x.to(self.device), torch.randn(args.batch_size, LATENT_DIM).to(self.device)

    def gradients(self) -> Tensor:
        """Fills the gradients; returns the loss."""
        self.optimizer.zero_grad()
        with self.autocast:
            loss: Tensor = self.model(self.x, self.noise)
        loss.backward()
        return loss.detach()

    def seconds(self) -> float:
        """The time of a whole step."""
        self.wait()
        start = self.clock()
        self.gradients()
        self.optimizer.step()
        self.wait()
        return self.clock() - start

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def peak(self) -> int:
        """Bytes: on the CPU from Linux's own record of this process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024

    def memory(self) -> tuple[float, float]:
        """Peak so far in MB: all of it, and what comes on top of weights and Adam's moments."""
        total = self.peak() - self.before
        state = 3 * sum(p.numel() * p.element_size() for p in self.model.parameters())
        return total / 1e6, (total - state) / 1e6


def warm_step(kind: str, vocab_size: int, hidden_dim: int, args: argparse.Namespace) -> Step:
    """A step in a process that has loaded all libraries before, so that they do not count as its memory."""
    Step(kind, 100, 16, args).seconds()
    step = Step(kind, vocab_size, hidden_dim, args)
    step.seconds(), step.seconds()
    return step


def check(ours: Step, theirs: Step) -> float:
    """The relative difference of the losses without dropout, theirs in float32.

    Raises an AssertionError if it is above 1e-5 (bf16: 0.5%) or if a gradient differs by more than 1e-5 of its largest
    entry (bf16: by 3% of its norm).
    """
    bf16 = ours.autocast._enabled
    with torch.no_grad():
        for weight, value in zip(theirs.model.parameters(), ours.model.arranged(Tensor.detach), strict=True):
            weight.copy_(value)
        theirs.model.dec_linear.bias += ours.model.decoder.never  # pads and start symbols are no outcomes in ours
    losses = []
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for step, dropout in ((ours, ours.model.decoder.dropout), (theirs, theirs.model.dropout)):
            dropout.p = 0.0
            losses.append(step.gradients().item())
            dropout.p = 0.5
    difference = abs(losses[0] / losses[1] - 1)
    assert difference < (5e-3 if bf16 else 1e-5), f"the losses are {losses[0]} and {losses[1]}"
    for mine, other in zip(ours.model.arranged(lambda p: p.grad), theirs.model.parameters(), strict=True):
        norm = torch.linalg.vector_norm if bf16 else lambda entries: entries.abs().max()
        error = float(norm(mine - other.grad) / norm(other.grad))
        assert error < (0.03 if bf16 else 1e-5), f"gradients of shape {tuple(mine.shape)} differ by {error:.1e}"
    return difference


def compare(vocab_size: int, hidden_dim: int, kinds: list[str], args: argparse.Namespace) -> None:
    """Prints one table."""
    base, *others = kinds
    steps = {kind: Step(kind, vocab_size, hidden_dim, args) for kind in kinds}
    differences = {kind: check(steps[kind], steps[base]) for kind in others}
    del steps
    contenders = {}
    for kind in kinds:
        kept = {"threads": args.num_threads, "keep_memory": args.keep_memory or kind != base}
        contenders[kind] = Contender(warm_step, kind, vocab_size, hidden_dim, args, **kept)
    memory = {kind: contender.ask("memory") for kind, contender in contenders.items()}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(args.rounds):
        for kind, contender in contenders.items():
            times[kind].append(contender.ask("seconds"))
    for contender in contenders.values():
        contender.end()
    tokens = args.batch_size * args.num_tokens
    print(
        f"\nvocabulary {vocab_size}, hidden {hidden_dim}, {args.batch_size} x {args.num_tokens} tokens, {args.device}"
    )
    print(f"{'':24s} {'':8s} {'':9s}  {'':22s} {'peak memory, MB, and share of theirs':^30s}")
    head = f"{'step':24s} {'ms':>8s} {'tokens/s':>9s}  {'faster by':22s}"
    print(f"{head} {'total':>8s} {'':4s} {'step':>8s} {'':4s}  {'loss off by':>12s}")
    for kind in kinds:
        ratios = [a / b for a, b in zip(times[base], times[kind], strict=True)]
        median = statistics.median(times[kind])
        faster = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]"
        shares = [f"{peak:8.0f} {peak / whole:4.2f}" for peak, whole in zip(memory[kind], memory[base], strict=True)]
        line = f"{kind:24s} {1e3 * median:8.1f} {tokens / median:9.0f}  {faster:22s}"
        print(line, *shares, f" {differences.get(kind, 0.0):12.0e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--vocab_size", type=int, nargs="+", default=[10_000, 20_000])
    parser.add_argument("--hidden_dim", type=int, nargs="+", default=[1024])
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--num_tokens", type=int, default=80, help="predicted tokens of each sentence")
    parser.add_argument("--kinds", nargs="+", choices=KINDS[1:], help="default: all that the device is fast at")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--num_threads", type=int, default=2, help="on the CPU")
    parser.add_argument(
        "--keep_memory", action="store_true", help="let the straightforward step keep freed memory, too"
    )
    parser.add_argument(
        "--cpu_time", action="store_true", help="count processor time: steadier on a shared machine, with one thread"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.num_threads)
    has_bf16 = args.device == "cuda" or cpu_computes_bfloat16()
    kinds = args.kinds or [kind for kind in KINDS[1:] if has_bf16 or "bf16" not in kind]
    for vocab_size in args.vocab_size:
        for hidden_dim in args.hidden_dim:
            compare(vocab_size, hidden_dim, [KINDS[0], *kinds], args)


if __name__ == "__main__":
    main()
