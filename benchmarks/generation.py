"""Generation of text: one step for each token against a loop that runs the whole prefix again, side by side in one run.

    python benchmarks/generation.py                     # CPU, 2 threads, 16 sentences of 40 tokens, vocabulary 20k
    python benchmarks/generation.py --device cuda

The loop is the straightforward one, which computes the logits of the whole prefix; a second one at least projects the
last position only. All give the same tokens, which is checked first: greedy, and drawn from the nucleus with the same
noise. Times alternate; a ratio is the median over the rounds, with the smallest and largest.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from skipvae.decoders import LSTMDecoder
from skipvae.decoders.token_search import truncate
from skipvae.text.tokens import BOS, EOS, PAD

LATENT_DIM, TOP_P = 32, 0.9


def all_positions(decoder: LSTMDecoder, prefix: Tensor, z: Tensor) -> Tensor:
    """Logits of the next token (B, V), as a loop would first be written."""
    return decoder.output(decoder.hidden(prefix, z), z)[:, -1]


def last_position(decoder: LSTMDecoder, prefix: Tensor, z: Tensor) -> Tensor:
    """The same without the projections that are not used."""
    return decoder.output(decoder.hidden(prefix, z)[:, -1], z)


@torch.no_grad()
def run_prefixes_again(
    next_logits: Callable[..., Tensor], decoder: LSTMDecoder, z: Tensor, length: int, noise: torch.Generator | None
) -> Tensor:
    """Greedy without noise, else from the nucleus."""
    tokens = torch.full((len(z), 1), BOS, device=z.device)
    for _ in range(length):
        logits = next_logits(decoder, tokens, z).float()
        logits[:, [PAD, BOS]] = -torch.inf
        if noise is None:
            token = logits.argmax(-1, keepdim=True)
        else:
            token = truncate(logits, top_p=TOP_P).softmax(-1).multinomial(1, generator=noise)
        tokens = torch.cat([tokens, token], 1)
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--vocab_size", type=int, default=20_000)
    parser.add_argument("--hidden_dim", type=int, default=1024)
    parser.add_argument("--num_sentences", type=int, default=16)
    parser.add_argument("--num_tokens", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--num_threads", type=int, default=2, help="on the CPU")
    args = parser.parse_args()
    torch.set_num_threads(args.num_threads)
    torch.manual_seed(0)
    decoder = LSTMDecoder(LATENT_DIM, vocab_size=args.vocab_size, hidden_dim=args.hidden_dim, skip=True).eval()
    decoder.output.hidden.bias.data[EOS] = -100.0  # no sentence ends early
    decoder.to(args.device)
    z = torch.randn(args.num_sentences, LATENT_DIM).to(args.device)
    noise = torch.Generator(args.device)

    def ours(seed: int | None) -> Tensor:
        drawn = {"temperature": 0.0} if seed is None else {"top_p": TOP_P, "generator": noise.manual_seed(seed)}
        return decoder.sample(z, max_length=args.num_tokens, **drawn)

    def loop(next_logits: Callable[..., Tensor]) -> Callable[[int | None], Tensor]:
        return lambda seed: run_prefixes_again(
            next_logits, decoder, z, args.num_tokens, None if seed is None else noise.manual_seed(seed)
        )

    kinds = {"ours": ours, "prefix again": loop(all_positions), "prefix again, last position": loop(last_position)}
    print(f"{args.num_sentences} x {args.num_tokens} tokens, vocabulary {args.vocab_size}, hidden {args.hidden_dim}")
    print(f"{'':36s} {'tokens/s':>9s}  ours is faster by")
    for name, seed in (("greedy", None), (f"nucleus {TOP_P}", 0)):
        expected = ours(seed)
        for other in kinds.values():
            assert torch.equal(other(seed), expected), "the tokens differ"
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(args.rounds):
            for kind, generate in kinds.items():
                start = time.perf_counter()
                generate(seed).cpu()
                times[kind].append(time.perf_counter() - start)
        for kind in kinds:
            ratios = [theirs / mine for theirs, mine in zip(times[kind], times["ours"], strict=True)]
            speed = args.num_sentences * args.num_tokens / statistics.median(times[kind])
            faster = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]"
            print(f"{name + ', ' + kind:36s} {speed:9.0f}  {faster}")


if __name__ == "__main__":
    main()
