"""Options of the commands that use a trained model; imports nothing heavy, so that help is answered at once."""

from argparse import ArgumentParser
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, get_type_hints


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


CHECKPOINT = (
    "Checkpoint file, or a run folder for its best one; `best` or `last` for that of the newest run in lightning_logs."
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """Options of all commands that compute."""

    ckpt_path: str = field(metadata={"help": CHECKPOINT})
    device: str = _option("auto", "`cpu`, `cuda`, or `auto` for the GPU if there is one.")

    def __post_init__(self) -> None:
        """Refuses before the work what would fail after it."""
        for name in ("num", "columns", "steps", "score", "batch_size"):
            count = getattr(self, name, None)
            if count is not None and count < 1:
                raise ValueError(f"{name} is {count}: it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Generation(Command):
    """How a text model generates sentences.

    Without any of the first four, samples are drawn from the model's distribution, and all other commands take the most
    probable next word.
    """

    output: str | None = _option(
        None,
        "PNG file to write, CSV for a table (samples.png and so on by default); text is printed, and written if a file "
        "is given.",
    )
    seed: int = _option(1, "The same seed gives the same result.")
    temperature: float | None = _option(None, "Divides the logits; 0 takes the most probable next word. For text.")
    top_k: int | None = _option(None, "Draws among this many most probable words only. For text.")
    top_p: float | None = _option(None, "Draws among the fewest words with this total probability. For text.")
    num_beams: int | None = _option(None, "Searches for the most probable sentence with this many beams. For text.")
    max_length: int | None = _option(None, "The maximum number of words of a sentence (60 by default). For text.")
    exclude_unk: bool | None = _option(None, "Never generate the unknown word (false by default). For text.")

    @property
    def given(self) -> dict[str, Any]:
        """The options for text that were given."""
        values = {name: getattr(self, name) for name in FOR_TEXT}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def sampling(self) -> dict[str, Any]:
        """Keyword arguments of `LSTMDecoder.sample`."""
        return {"max_length": 60, **self.given}

    def refuse_for_images(self) -> None:
        """Raises a ValueError if an option was given that only text models have."""
        for name in self.given:
            raise ValueError(f"{name} is an option for text, but this is not a model of text: leave it out")


FOR_TEXT = ("temperature", "top_k", "top_p", "num_beams", "max_length", "exclude_unk")
DATA = "Data module of the examples, or settings of it that differ from those of the training."


@dataclass(frozen=True, kw_only=True)
class Encode(Command):
    """Writes the posterior q(z|x) of each of your own inputs to a file: a row of means and standard deviations.

    Inputs are sentences, text files of one sentence a line (`-` for standard input), picture files, folders of
    pictures, files of arrays (.npy, .npz, .pt), or tables (CSV, parquet), read as the data of the run were. An input
    that cannot be used keeps its row, with the reason. No row depends on the others, nor on their order or the seed.
    """

    inputs: list[str] = field(default_factory=list, metadata={"help": "The inputs.", "positional": True})
    output: str = _option("codes.csv", "File to write: .csv, .npz or .parquet.")
    score: int | None = _option(
        None, "Also the ELBO and the importance-weighted log-likelihood of each input, in nats, by this many samples."
    )
    batch_size: int = _option(256, "How many are encoded at once.")


@dataclass(frozen=True, kw_only=True)
class Decode(Generation):
    """Decodes latent vectors from a file, such as those that `skipvae encode` wrote or you computed from them.

    The file is CSV or parquet with columns mean_0, mean_1, ... or z_0, z_1, ..., or .npz or .npy with an array mean or
    z. Text is printed, a line for each; images become one PNG, or an array if the output ends in .npy; tables CSV.
    """

    codes: list[str] = field(default_factory=list, metadata={"help": "The file of codes.", "positional": True})
    columns: int | None = _option(None, "Images in a row; 8 by default.")


@dataclass(frozen=True, kw_only=True)
class Sample(Generation):
    """Draws from a trained model: z from the prior, then x given z."""

    num: int | None = _option(None, "How many; by default 64 images, 1,000 rows of a table, or 10 sentences.")
    columns: int | None = _option(None, "Images in a row; 8 by default.")
    mean: bool = _option(False, "Show the mean of p(x|z) instead of a draw from it; not for autoregressive decoders.")
    label: str | None = _option(
        None,
        "Class to draw from: z from a Gaussian that is fitted to the codes of its training examples, instead of the "
        "prior.",
    )
    data: Any = field(default=None, metadata={"help": "For label: " + DATA})


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Generation):
    """Decodes the posterior means of your own inputs, or of test examples: each stands above its reconstruction.

    Inputs are sentences, files, folders or tables, as for `encode`. A reconstruction is the mean of p(x|z); of
    autoregressive decoders, which have none, a draw.
    """

    inputs: list[str] = field(
        default_factory=list, metadata={"help": "Inputs of your own, instead of test examples.", "positional": True}
    )
    num: int | None = _option(None, "How many test examples; by default 32 images or rows, or 10 sentences.")
    data: Any = field(default=None, metadata={"help": DATA})
    text: str | None = _option(None, "A sentence of your own, instead of test examples.")


@dataclass(frozen=True, kw_only=True)
class Interpolate(Generation):
    """Decodes the straight line in latent space from one test example to another, one pair in a row.

    As in `reconstruct`, the mean of p(x|z) is shown where there is one.
    """

    num: int | None = _option(None, "How many pairs; by default 8 of images or rows, or 3 of sentences.")
    steps: int = _option(10, "Number of points on the line, both ends included.")
    data: Any = field(default=None, metadata={"help": DATA})
    start: str | None = _option(None, "A sentence, picture or file of your own to start from; give `end` too.")
    end: str | None = _option(None, "Likewise to end with; files have the same number of inputs.")

    def __post_init__(self) -> None:
        """Refuses one end without the other."""
        super().__post_init__()
        if (self.start is None) != (self.end is None):
            raise ValueError("an interpolation between inputs of your own needs both --start and --end")
        for name in ("num", "data") if self.start is not None else ():
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is for test examples, and start and end are your own: leave one of them out")


@dataclass(frozen=True, kw_only=True)
class Export:
    """Writes encoder and decoder of a trained model to files that run without skipvae, and compares them with it.

    `export.json` beside them says what goes in and comes out.
    """

    ckpt_path: str = field(metadata={"help": CHECKPOINT})
    format: str = field(
        metadata={
            "help": "`onnx`, for onnxruntime and others (needs pip install 'skipvae[export]'), or `torch_export`, for "
            "torch.export.load."
        }
    )
    output: str = _option("export", "Folder to write to.")
    tolerance: float = _option(1e-4, "The largest difference |a - b| / (1 + |b|) from the model that is allowed.")


@dataclass(frozen=True, kw_only=True)
class Explore(Command):
    """Opens a page to look into a trained model, on this machine alone: Ctrl-C ends it.

    Sliders move the latent dimensions with the largest KL, and the picture, sentence or row of the code follows. It
    starts from a test or training example, from an input of your own, or from the prior; and shows the way from one
    code to another, and the nearest training examples. Needs pip install 'skipvae[explore]'.
    """

    port: int | None = _option(None, "Port of the page; a free one by default.")
    open: bool = _option(False, "Also open the page in the browser.")
    num: int = _option(2000, "How many training examples are encoded first, to find the nearest ones among.")
    seed: int = _option(1, "The same seed gives the same draws from the prior.")
    data: Any = field(default=None, metadata={"help": DATA})

    def __post_init__(self) -> None:
        """Refuses what is no port."""
        super().__post_init__()
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}: give one from 1 to 65535, or none for a free one")


COMMANDS: dict[str, type[Any]] = {
    "encode": Encode,
    "decode": Decode,
    "sample": Sample,
    "reconstruct": Reconstruct,
    "interpolate": Interpolate,
    "export": Export,
    "explore": Explore,
}
"""Options by command; the docstring of each class is the description of its command."""


def add_options(parser: Any, command: str, data_type: Any = None) -> None:
    """Adds the options of a command to a parser.

    Args:
        parser: of argparse, for help; or of jsonargparse, which checks types.
        command: one of `COMMANDS`.
        data_type: type of a data module, for jsonargparse.
    """
    hints: dict[str, Any] = get_type_hints(COMMANDS[command])
    names = {option.name: option for option in fields(COMMANDS[command])}
    for name in sorted(names, key=FOR_TEXT.__contains__):  # of text only, so they stand behind the others
        option = names[name]
        text = option.metadata["help"]
        if option.metadata.get("positional"):
            parser.add_argument(name, nargs="*", help=text, **({} if data_type is None else {"type": str}))
            continue
        default = {"required": True} if option.default is MISSING else {"default": option.default}
        checked = {"type": data_type, "enable_path": True} if name == "data" else {"type": hints[name]}
        if hints[name] in (bool, bool | None):
            default |= {"nargs": "?", "const": True}  # `--mean` is `--mean true`
        if data_type is None and option.default not in (MISSING, None):  # jsonargparse adds defaults itself
            text += f" (default: {option.default})"
        parser.add_argument(f"--{name}", help=text, **default, **({} if data_type is None else checked))


def print_help(command: str) -> None:
    """Prints the help of a command."""
    parser = ArgumentParser(prog=f"skipvae {command}", description=COMMANDS[command].__doc__)
    add_options(parser, command)
    parser.print_help()
