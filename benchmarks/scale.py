"""Corpora from small to larger than memory: TextDataModule beside Hugging Face datasets with a DataLoader.

    python benchmarks/scale.py
    python benchmarks/scale.py --lines 10000000 --rounds 1 --only ours
    python benchmarks/scale.py --tokenization bpe --vocab_size 8000

The script makes the text: lines of 3 to 60 words, drawn by Zipf's law from 200,000. Both build the same kind of
vocabulary from it, encode all lines, keep them on disk, and serve padded batches of sentences of similar length, the
same index batches for both. "Preparation" is all of that up to the files, with an empty cache, in seconds of the
processor over all processes, so that other work on the machine hardly counts; "clock" is by the clock. "Second start"
is the time from the call to data that can be asked for a batch, in another process that finds the files, imports left
out. Training batches are those of one process, without workers, after the first one. Memory is the largest amount of
anonymous memory of all processes beyond that of torch and Lightning at the start: the pages of mapped files do not
count, as the system may take them back. Ours has a limit that the system sets (RLIMIT_DATA) beyond what it has at the
start: more would end in an error. They take turns, each in a process of its own.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import torch
from image_folder import anonymous_memory
from torch import Tensor

from datamodules import TextDataModule
from datamodules.buckets import LengthBuckets
from datamodules.piece_encoder import BOS, EOS
from datamodules.vocabulary import Vocabulary
from datamodules.workers import num_cores

BATCH_SIZE = 32
HELD_OUT = 100


def make_text(path: Path, number: int) -> None:
    """Lines of words by Zipf's law, with lengths around twelve."""
    random = np.random.default_rng(0)
    words = [f"{prefix}{rank:x}" for rank, prefix in zip(range(200_000), "ptkbdg" * 40_000, strict=False)]
    limits = (1 / np.arange(1, len(words) + 1)).cumsum()
    with path.open("w") as file:
        for start in range(0, number, 100_000):
            lengths = random.lognormal(2.4, 0.5, min(100_000, number - start)).astype(int).clip(3, 60)
            ranks = np.searchsorted(limits, random.random(lengths.sum()) * limits[-1])
            drawn = list(map(words.__getitem__, ranks.tolist()))
            for end in lengths.cumsum() - 1:
                drawn[end] += "\n"
            file.write(" ".join(drawn).replace("\n ", "\n"))


class Memory:
    """The most anonymous memory beyond that of now, looked at five times a second; a context manager."""

    def __init__(self) -> None:
        self._before, self.most, self._end = anonymous_memory(), 0, Event()
        self._thread = Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._end.wait(0.2):
            self.most = max(self.most, anonymous_memory() - self._before)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.most = max(self.most, anonymous_memory() - self._before)


def ours(path: Path, cache: Path, options: dict[str, Any]) -> Iterator[Iterator[Tensor]]:
    """The preparation or another start, then the batches."""
    sizes: dict[str, Any] = {"val_size": HELD_OUT, "test_size": HELD_OUT, "batch_size": BATCH_SIZE}
    data = TextDataModule(str(path), cache_dir=str(cache), max_length=200, **sizes, **options)
    data.setup()
    yield (tokens for tokens, _ in data.train_dataloader())


def hugging_face(path: Path, cache: Path, options: dict[str, Any]) -> Iterator[Iterator[Tensor]]:
    """The usual way: `load_dataset`, a vocabulary, a batched `map` on all cores, all of it cached; a DataLoader."""
    from datasets import load_dataset
    from torch.utils.data import DataLoader

    lines = load_dataset("text", data_files=str(path), split="train", cache_dir=str(cache))
    vocabulary = cache / "vocabulary.json"
    if not vocabulary.exists():
        texts = (text for batch in lines.iter(1000) for text in batch["text"])
        vocabulary.write_text(_tokenizer(texts, options), encoding="utf-8")
    encode = partial(_encode, vocabulary=str(vocabulary))
    encoded = lines.map(encode, batched=True, num_proc=num_cores(), remove_columns="text")
    lengths = torch.from_numpy(encoded.data.column("length").to_numpy().copy())
    yield iter(DataLoader(encoded.with_format("numpy"), batch_sampler=_Sampler(lengths), collate_fn=_padded))


class _Sampler:
    def __init__(self, lengths: Tensor) -> None:
        self.batches = LengthBuckets(lengths, BATCH_SIZE, seed=0)

    def __iter__(self) -> Iterator[list[int]]:
        for index in self.batches:  # not in order before the first one is asked for
            yield index.tolist()


def _tokenizer(texts: Iterator[str], options: dict[str, Any]) -> str:
    """A vocabulary as the library itself builds it, in JSON."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    if options["tokenization"] == "bpe":
        return Vocabulary.build(texts, options["vocab_size"], "bpe").to_json()
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    symbols = ["<pad>", "<unk>", "<bos>", "<eos>"]
    trainer = trainers.WordLevelTrainer(vocab_size=options["vocab_size"], special_tokens=symbols, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def _encode(batch: dict[str, list[str]], vocabulary: str) -> dict[str, list[Any]]:
    from tokenizers import Tokenizer

    tokenizer = _LOADED.setdefault(vocabulary, None) or Tokenizer.from_file(vocabulary)
    _LOADED[vocabulary] = tokenizer
    tokens = [[BOS, *encoding.ids, EOS] for encoding in tokenizer.encode_batch_fast(batch["text"])]
    return {"tokens": tokens, "length": [len(ids) for ids in tokens]}


_LOADED: dict[str, Any] = {}


def _padded(rows: list[dict[str, Any]]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row["tokens"]) for row in rows], batch_first=True)


CONTENDERS = {"ours": ours, "datasets": hugging_face}


def answer(kind: str, path: str, cache: str, options: str) -> None:
    """The work of a process: prints what it took."""
    if kind == "datasets":
        import datasets

        datasets.disable_progress_bars()
    choices = json.loads(options)
    limit = choices.pop("limit_gb", None)
    if limit is not None and kind == "ours":
        status = Path("/proc/self/status").read_text().splitlines()
        (used,) = (int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (used + int(limit * 1e9), resource.RLIM_INFINITY))
    before = _processor_time()
    with Memory() as memory:
        started = time.perf_counter()
        batches = next(CONTENDERS[kind](Path(path), Path(cache), choices))
        clock, processor = time.perf_counter() - started, _processor_time() - before
        started = time.perf_counter()
        next(batches)
        first, started, tokens = time.perf_counter() - started, time.process_time(), 0
        for batch in islice(batches, 2000):
            tokens += int((batch != 0).sum())
        rate = tokens / (time.process_time() - started)
    print(json.dumps({"clock": clock, "processor": processor, "first": first, "rate": rate, "memory": memory.most}))


def _processor_time() -> float:
    """Seconds of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def measure(path: Path, folder: Path, kinds: list[str], rounds: int, options: dict[str, Any]) -> None:
    """One size of a corpus: prints the medians, and the ratios with their range."""
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            cache = folder / "cache"
            shutil.rmtree(cache, ignore_errors=True)
            cache.mkdir()
            for start in ("preparation", "second start"):
                command = [sys.executable, __file__, "--measure", kind, str(path), str(cache), json.dumps(options)]
                printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                result = json.loads(printed.splitlines()[-1])
                names = (
                    ("processor", "clock", "memory") if start == "preparation" else ("clock", "memory", "first", "rate")
                )
                for name in names:
                    found[kind].setdefault(f"{start}, {name}", []).append(result[name])
    for name in found[kinds[0]]:
        scale = 1e-6 if name.endswith("memory") else 1
        unit = "MB" if scale < 1 else "tokens/s" if name.endswith("rate") else "s"
        line = f"{name:26s}"
        for kind in kinds:
            line += f"{kind:>10s} {statistics.median(found[kind][name]) * scale:14,.2f} {unit}"
        if len(kinds) == 2:
            ratios = [b / a for a, b in zip(found["ours"][name], found["datasets"][name], strict=True)]
            line += f"   datasets/ours {statistics.median(ratios):7.2f} [{min(ratios):.2f}..{max(ratios):.2f}]"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--tokenization", choices=["word", "bpe"], default="word")
    parser.add_argument("--vocab_size", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit_gb", type=float, default=2.0, help="of ours, beyond what it has at the start")
    parser.add_argument("--only", choices=list(CONTENDERS))
    parser.add_argument("--folder", help="where the text and the caches are made; by default a temporary folder")
    arguments = parser.parse_args()
    options = {
        "tokenization": arguments.tokenization,
        "vocab_size": arguments.vocab_size,
        "limit_gb": arguments.limit_gb,
    }
    for number in arguments.lines:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            path = Path(folder, "text.txt")
            make_text(path, number)
            print(f"\n{number:,} lines, {path.stat().st_size / 1e6:,.0f} MB, {num_cores()} cores", flush=True)
            measure(
                path, Path(folder), [arguments.only] if arguments.only else list(CONTENDERS), arguments.rounds, options
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        answer(*sys.argv[2:])
    else:
        main()
