"""Reading a folder of JPEGs: ImageFolderDataModule beside torchvision's ImageFolder and a DataLoader of two workers.

    python benchmarks/image_folder.py
    python benchmarks/image_folder.py --root PICTURES --image_size 64

Without `--root` the script makes the pictures: parts of the photographs that scikit-learn ships, 200 to 400 pixels
wide. Both crop and shrink them to the same size and serve batches of floats. Our first epoch includes the one reading
of all pictures into the memory-mapped cache, which is deleted before each round; "another start" is the first epoch of
a later process, which finds the cache. They take turns, each in a process of its own. Memory is the largest amount of
anonymous memory, workers included, that is in use at any batch, beyond that at the start: the pages of the mapped file
do not count, as the system may take them back.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules import ImageFolderDataModule


def make_pictures(folder: Path, number: int) -> None:
    """JPEGs of random parts of two photographs, in two classes."""
    from sklearn.datasets import load_sample_image

    random = np.random.default_rng(0)
    for name in ("china", "flower"):
        photograph = Image.fromarray(load_sample_image(f"{name}.jpg"))
        (folder / name).mkdir(parents=True)
        for i in range(number // 2):
            width, height = random.integers(200, 400, 2)
            left, top = random.integers(0, photograph.width - width), random.integers(0, photograph.height - height)
            part = photograph.crop((left, top, left + width, top + height))
            part.save(folder / name / f"{i:06d}.jpg", quality=90)


def anonymous_memory() -> int:
    """Bytes that this process and its children hold beyond pages of files; what they share counts once."""
    processes, total = ["self"], 0
    while processes:
        process = Path("/proc", processes.pop())
        try:
            lines = (process / "smaps_rollup").read_text().splitlines()
            children = [path.read_text().split() for path in process.glob("task/*/children")]
        except OSError:  # ended meanwhile
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon"))
        processes += [child for of_thread in children for child in of_thread]
    return total


class Reader:
    """Epochs over the training pictures of a folder: seconds, pictures and memory of each.

    Attributes:
        loader: of batches (images, labels).
    """

    loader: Iterable[list[object]]

    def __init__(self, root: str, cache: str, image_size: int, batch_size: int) -> None:
        self.root, self.cache, self.image_size, self.batch_size = root, cache, image_size, batch_size
        self.before = anonymous_memory()

    def start(self) -> None:
        """Makes the loader."""
        raise NotImplementedError

    def epoch(self, first: bool) -> tuple[float, int, int]:
        """Seconds, number of pictures, and the most memory; the first one includes the start."""
        started, pictures, memory = time.perf_counter(), 0, 0
        if first:
            self.start()
        for i, (images, _) in enumerate(self.loader):
            pictures += len(images)  # type: ignore[arg-type]
            if i % 20 == 0:
                memory = max(memory, anonymous_memory() - self.before)
        return time.perf_counter() - started, pictures, memory


class Ours(Reader):
    """All of a folder but the few pictures of the other splits."""

    def start(self) -> None:
        data = ImageFolderDataModule(
            self.root,
            image_size=self.image_size,
            batch_size=self.batch_size,
            val_fraction=0.001,
            test_fraction=0.001,
            cache_dir=self.cache,
            drop_last=False,
        )
        data.prepare_data()
        data.setup()
        self.loader = data.train_dataloader()  # type: ignore[assignment]


class Torchvision(Reader):
    """The usual transformations and two workers, which live as long as the loader."""

    def start(self) -> None:
        from torch.utils.data import DataLoader
        from torchvision import transforms
        from torchvision.datasets import ImageFolder

        steps = [transforms.Resize(self.image_size), transforms.CenterCrop(self.image_size), transforms.ToTensor()]
        pictures = ImageFolder(self.root, transforms.Compose(steps))
        self.loader = DataLoader(pictures, self.batch_size, shuffle=True, num_workers=2, persistent_workers=True)


def answer(kind: str, root: str, cache: str, *sizes: str) -> None:
    """The work of a process: prints what is known of each epoch."""
    image_size, batch_size, epochs = map(int, sizes)
    reader = {"Ours": Ours, "Torchvision": Torchvision}[kind](root, cache, image_size, batch_size)
    print()  # ends what a progress bar has left
    print(json.dumps([reader.epoch(first) for first in [True, False][:epochs]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="a folder of pictures in class folders")
    parser.add_argument("--number", type=int, default=4000, help="pictures that are made without --root")
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(arguments.root or Path(folder, "pictures")), Path(folder, "cache")
        if not arguments.root:
            make_pictures(root, arguments.number)
        rates: dict[str, list[float]] = {}
        memory: dict[str, int] = {}

        def measure(kind: str, *epochs: str) -> None:
            sizes = [str(arguments.image_size), str(arguments.batch_size)]
            command = [sys.executable, __file__, "--measure", kind, str(root), str(cache), *sizes, str(len(epochs))]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            for name, (seconds, pictures, used) in zip(epochs, json.loads(printed.splitlines()[-1]), strict=True):
                rates.setdefault(name, []).append(pictures / seconds)
                memory[name] = max(memory.get(name, 0), used)

        for _ in range(arguments.rounds):
            shutil.rmtree(cache, ignore_errors=True)
            measure("Ours", "ours, first epoch", "ours, second epoch")
            measure("Ours", "ours, another start")
            measure("Torchvision", "torchvision, first epoch", "torchvision, second epoch")
    print(f"{arguments.image_size} pixels, median [min..max over {arguments.rounds} rounds]")
    print(f"{'':26s}{'pictures/s':>11s}   relative to torchvision's second epoch     memory, MB")
    base = rates["torchvision, second epoch"]
    for name, values in rates.items():
        ratios = [value / other for value, other in zip(values, base, strict=True)]
        spread = f"{statistics.median(ratios):8.2f} [{min(ratios):.2f}..{max(ratios):.2f}]"
        print(f"{name:26s}{statistics.median(values):11,.0f}   {spread:38s}{memory[name] / 1e6:14.0f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        answer(*sys.argv[2:])
    else:
        main()
