"""The networks of a model that can be exported, each with the names, shapes and meanings of its inputs and outputs."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from skipvae.decoders.base import Decoder, ImageDecoder
from skipvae.decoders.pixel_by_pixel import PixelByPixelDecoder
from skipvae.decoders.token_search import State
from skipvae.encoders.base import Encoder
from skipvae.inference import Amortized
from skipvae.models import VAE, GenerativeModel
from skipvae.text.tokens import BOS, EOS, PAD, UNK

Size = int | Literal["batch", "length"]
"""A number, or the name of a dimension that is free."""

TOKENS = f"token ids, by vocabulary.json where there is one: {PAD} padding, {UNK} an unknown word, {BOS} BOS, {EOS} EOS"


@dataclass(frozen=True)
class Value:
    """An input or output of a network.

    Args:
        name: as in ONNX.
        shape: the batch first.
        meaning: in words.
        draw: an example of the shape, for inputs.
    """

    name: str
    shape: tuple[Size, ...]
    meaning: str
    draw: Callable[[tuple[int, ...]], Tensor] = torch.randn

    def example(self, **sizes: int) -> Tensor:
        """A random one, with these sizes for the free dimensions."""
        return self.draw(tuple(sizes[size] if isinstance(size, str) else size for size in self.shape))

    @property
    def free(self) -> dict[int, str]:
        """The free dimensions and their names."""
        return {index: size for index, size in enumerate(self.shape) if isinstance(size, str)}


class Network(nn.Module):
    """A function of tensors that uses a module's weights.

    Args:
        module: the owner of the weights.
        function: tensors, one for each input, to a tuple of tensors.
    """

    def __init__(self, module: nn.Module, function: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs."""
        return self.function(*inputs)


@dataclass(frozen=True)
class Part:
    """A network to be exported.

    Args:
        name: of its file.
        network: its inputs to its outputs.
        inputs: in order.
        outputs: in order.
    """

    name: str
    network: Network
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def parts_of(model: GenerativeModel) -> list[Part]:
    """The networks of a model in evaluation mode: its encoder, where there is one, and those of its decoder.

    Raises:
        ValueError: if the decoder offers nothing that can be exported.
    """
    decoder: Any = model.decoder
    if decoder.modality == "text" and callable(getattr(decoder, "start", None)):
        parts = _token_by_token(decoder)
    elif isinstance(decoder, PixelByPixelDecoder):
        parts = [_pixel_by_pixel(decoder, _x_of(model))]
    elif isinstance(decoder, ImageDecoder):
        parts = [_array(decoder)]
    else:
        raise ValueError(
            f"{type(decoder).__name__} cannot be exported: it is no ImageDecoder, whose `logits` would be, and has no "
            "`start` as LSTMDecoder has, whose steps would be"
        )
    encoder = getattr(model, "encoder", None)
    return parts if encoder is None else [_encoder(encoder, _x_of(model)), *parts]


def notes_of(model: GenerativeModel) -> list[str]:
    """The parts of a model that its files leave out, in sentences for its user."""
    found = list[str]()
    if isinstance(model, VAE) and not isinstance(model.inference, Amortized):
        name = type(model.inference).__name__
        if model.encoder is None:
            found.append(f"There is no encoder: {name} infers z by gradient steps, which skipvae alone can do.")
        else:
            found.append(
                f"The encoder gives the posterior that {name} starts from; the model's own is refined from there by "
                "gradient steps, which skipvae alone can do."
            )
    if isinstance(model.decoder, PixelByPixelDecoder):
        found.append(
            "The decoder gives the parameters of each pixel given the pixels before it (teacher forcing): it scores an "
            "image, and to draw one it runs once for each pixel."
        )
    return found


def _encoder(encoder: Encoder, x: Value) -> Part:
    def infer(x: Tensor) -> tuple[Tensor, Tensor]:
        posterior = encoder(x)
        return posterior.mean, posterior.logvar

    shape: tuple[Size, ...] = ("batch", encoder.latent_dim)
    outputs = (Value("mean", shape, "mean of q(z|x)"), Value("logvar", shape, "log of the variance of q(z|x)"))
    return Part("encoder", Network(encoder, infer), (x,), outputs)


def _array(decoder: ImageDecoder) -> Part:
    """z -> the parameters of the likelihood, and the mean of p(x|z)."""

    def decode(z: Tensor) -> tuple[Tensor, Tensor]:
        return decoder.logits(None, z), decoder.mean(z)

    network, z = Network(decoder, decode), _z_of(decoder)
    mean = Value("mean", ("batch", *decoder.image_shape), "mean of p(x|z), in the units of x")
    return Part("decoder", network, z, (_parameters(decoder, network, z), mean))


def _pixel_by_pixel(decoder: PixelByPixelDecoder, x: Value) -> Part:
    """(x, z) -> the parameters of the likelihood of each pixel given those before it."""

    def score(x: Tensor, z: Tensor | None = None) -> tuple[Tensor]:
        return (decoder.logits(x, z),)

    network, inputs = Network(decoder, score), (x, *_z_of(decoder))
    return Part("decoder", network, inputs, (_parameters(decoder, network, inputs),))


def _token_by_token(decoder: Any) -> list[Part]:
    """z -> the first state, where z sets it, and (token, z, state) -> (logits, state)."""
    z = _z_of(decoder)
    first: State = decoder.start(z[0].example(batch=1) if z else None, 1)[1]

    def start(z: Tensor) -> State:
        return decoder.start(z, z.shape[0])[1]  # type: ignore[no-any-return]

    def step(token: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        z, state = (rest[0], rest[1:]) if decoder.latent_dim else (None, rest)
        logits, after = decoder.start(z, token.shape[0])[0](token, state)
        return (logits, *after)

    meaning = "the state before the first token" if z else "the state; zeros before the first token"
    before = tuple(Value(f"state_{i}", ("batch", *part.shape[1:]), meaning) for i, part in enumerate(first))
    after = tuple(Value(f"next_{value.name}", value.shape, "the state after the token") for value in before)
    tokens = partial(torch.randint, 0, decoder.vocab_size)
    token = Value("token", ("batch",), f"the last token; {BOS} (BOS) at the beginning; {TOKENS}", tokens)
    logits = Value("logits", ("batch", decoder.vocab_size), "of the next token; EOS ends the sentence")
    steps = Part("decoder_step", Network(decoder, step), (token, *z, *before), (logits, *after))
    return [Part("decoder_start", Network(decoder, start), z, before), steps] if z else [steps]


def _z_of(decoder: Decoder) -> tuple[Value, ...]:
    """The input z, or none for a decoder without z."""
    z = Value("z", ("batch", decoder.latent_dim), "the latent variables; N(0, I) in the prior")
    return (z,) if decoder.latent_dim else ()


def _parameters(decoder: ImageDecoder, network: Network, inputs: tuple[Value, ...]) -> Value:
    """The first output of an image decoder, described by the formula of its likelihood."""
    own = type(decoder).log_prob is not ImageDecoder.log_prob
    formula = (inspect.getdoc(type(decoder if own else decoder.likelihood)) or "").partition("\n\n")[0]
    shape = network(*(value.example(batch=1) for value in inputs))[0].shape[1:]
    return Value("parameters", ("batch", *shape), " ".join(formula.split()))


def _x_of(model: GenerativeModel) -> Value:
    """The input x."""
    decoder: Any = model.decoder
    if decoder.modality == "text":
        meaning = f"sentences as {TOKENS}; each is BOS, its words, EOS, then padding"
        return Value("x", ("batch", "length"), meaning, partial(_sentences, decoder.vocab_size))
    if decoder.modality == "table":
        known = "columns" in model.codecs
        scaled = "(value - mean) / scale of each column, by columns.json" if known else "as the data module gave them"
        return Value("x", ("batch", *decoder.image_shape), f"rows of a table: {scaled}")
    meaning = "images as the data module gave them: by default from 0 (black) to 1 (white), bytes divided by 255"
    if "pictures" in model.codecs:
        meaning += "; pictures.json says how a picture becomes one, and whether they are binary"
    return Value("x", ("batch", *decoder.image_shape), meaning, torch.rand)


def _sentences(vocab_size: int, shape: tuple[int, ...]) -> Tensor:
    """Random sentences, the first as long as the batch and the others padded."""
    tokens = torch.randint(UNK, max(vocab_size, UNK + 1), shape)
    lengths = torch.randint(2, shape[1] + 1, (shape[0], 1)).index_fill_(0, torch.tensor([0]), shape[1])
    return tokens.masked_fill(torch.arange(shape[1]) >= lengths, PAD)
