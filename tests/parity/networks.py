"""Our networks with published weights, built from the arrays alone, in float64 and evaluation mode."""

import torch
from torch import Tensor, nn

from skipvae.decoders import GatedPixelCNNDecoder, LSTMDecoder, MLPDecoder, ResidualPixelCNNDecoder
from skipvae.encoders import LSTMEncoder, MLPEncoder, ResNetEncoder, StridedResNetEncoder
from tests.parity.arrays import Arrays, fill, fill_linear

ENDS = "mean", "logvar"


def image_shape(arrays: Arrays) -> tuple[int, int, int]:
    channels, height, width = arrays["x"].shape[1:]
    return channels, height, width


def fill_posterior(layer: nn.Module, arrays: Arrays, prefix: str = "") -> None:
    """Ours is one linear map to mean and log-variance."""
    parts = [part for part in ("weight", "bias") if f"{prefix}mean.{part}" in arrays]
    fill(layer, **{part: torch.cat([arrays[f"{prefix}{end}.{part}"] for end in ENDS]) for part in parts})


# -- MLP --------------------------------------------------------------------------------------------------------------


def mlp_encoder(arrays: Arrays) -> MLPEncoder:
    num_layers = arrays.count("encoder.layer{}.weight")
    latent_dim, hidden_dim = arrays["encoder.mean.weight"].shape
    encoder = MLPEncoder(latent_dim, image_shape(arrays), hidden_dim, num_layers).double().eval()
    for i in range(num_layers):
        fill_linear(encoder.layers[2 * i], arrays, f"encoder.layer{i + 1}")
    fill_posterior(encoder.layers[-1], arrays, "encoder.")
    return encoder


def mlp_decoder(arrays: Arrays, skip: bool) -> MLPDecoder:
    hidden_dim, latent_dim = arrays["decoder.input.weight"].shape
    decoder = MLPDecoder(
        latent_dim,
        image_shape(arrays),
        hidden_dim,
        num_layers=arrays.count("decoder.layer{}.hidden.weight"),
        skip=skip,
        output_skip=False,
    )
    decoder = decoder.double().eval()
    fill_linear(decoder.input, arrays, "decoder.input")
    for i, layer in enumerate(decoder.hidden, start=1):
        fill_linear(layer.hidden, arrays, f"decoder.layer{i}.hidden")
        if skip:
            fill_linear(layer.latent, arrays, f"decoder.layer{i}.latent")
    fill_linear(decoder.output.hidden, arrays, "decoder.output")
    return decoder


# -- ResNet -----------------------------------------------------------------------------------------------------------


def resnet_encoder(arrays: Arrays) -> ResNetEncoder:
    """Our convolutions before a norm have no bias: the norm removes it, and takes it off its running mean."""
    blocks = range(1, arrays.count("block{}.convolution1.weight") + 1)
    channels = [len(arrays[f"block{b}.convolution1.weight"]) for b in blocks]
    encoder = ResNetEncoder(len(arrays["mean.weight"]), image_shape(arrays), channels).double().eval()
    for b in blocks:
        residual = encoder.blocks[2 * b - 2]
        for i in (1, 2):
            fill(residual.residual[3 * i - 3], weight=arrays[f"block{b}.convolution{i}.weight"])
            fill_norm(
                residual.residual[3 * i - 2], arrays, f"block{b}.norm{i}", arrays[f"block{b}.convolution{i}.bias"]
            )
        if f"block{b}.projection.weight" in arrays:
            fill_linear(residual.shortcut, arrays, f"block{b}.projection")
        fill_linear(encoder.blocks[2 * b - 1], arrays, f"block{b}.downsample")
    fill_posterior(encoder.output, arrays)
    return encoder


def fill_norm(norm: nn.Module, arrays: Arrays, name: str, bias: Tensor | None = None) -> None:
    """Sets a batch norm; `bias` is that of the convolution before it, which ours does not have."""
    mean = arrays[f"{name}.running_mean"]
    fill(
        norm,
        weight=arrays[f"{name}.scale"],
        bias=arrays[f"{name}.shift"],
        running_mean=mean if bias is None else mean - bias,
        running_var=arrays[f"{name}.running_variance"],
    )


# -- PixelCNN ---------------------------------------------------------------------------------------------------------


def pixelcnn(arrays: Arrays) -> GatedPixelCNNDecoder:
    """With skips where there is a latent map at the output; where shortcuts have no weights, the layer of Kim et al."""
    kernel_sizes, latent_dim = arrays["kernel_sizes"].tolist(), arrays["z"].shape[1] if "z" in arrays else 0
    skip = "output.latent_map.weight" in arrays
    decoder = GatedPixelCNNDecoder(
        latent_dim,
        image_shape(arrays),
        channels=arrays["channels"].tolist(),
        num_layers=len(kernel_sizes),
        kernel_size=kernel_sizes,
        skip=skip,
        layer="published" if "layer2.shortcut.weight" in arrays else "kim2018",
    )
    decoder = decoder.double().eval()
    for number, layer in enumerate(decoder.layers, start=1):
        parts = {"vertical": "vertical", "horizontal": "horizontal", "down": "vertical_to_horizontal"}
        for ours, theirs in {**parts, "output": "output", "shortcut": "shortcut"}.items():
            module = getattr(layer, ours)
            if module is not None:
                fill_linear(module, arrays, f"layer{number}.{theirs}")
    fill_linear(decoder.output, arrays, "output")
    if decoder.maps is not None:
        places = [*range(1, len(kernel_sizes) + 1)] if skip else [1]
        names = [f"layer{place}.latent_map" for place in places] + (["output.latent_map"] if skip else [])
        parts = {part: torch.cat([arrays[f"{name}.{part}"] for name in names]) for part in ("weight", "bias")}
        fill(decoder.maps.linear, **parts)
    return decoder


# -- LSTM -------------------------------------------------------------------------------------------------------------

LSTM_PARTS = {"weight_ih": "input_weight", "weight_hh": "recurrent_weight", "bias_ih": "input_bias"}
LSTM_PARTS |= {"bias_hh": "recurrent_bias"}


def lstm_weights(arrays: Arrays, name: str, layer: int = 0) -> dict[str, Tensor]:
    return {f"{ours}_l{layer}": arrays[f"{name}.{theirs}"] for ours, theirs in LSTM_PARTS.items()}


def lstm_encoder(arrays: Arrays, prefix: str = "") -> LSTMEncoder:
    latent_dim, hidden_dim = arrays[f"{prefix}mean.weight"].shape
    vocab_size, embedding_dim = arrays[f"{prefix}embedding"].shape
    num_layers = max(1, arrays.count(prefix + "lstm.layer{}.input_weight"))
    bias = f"{prefix}mean.bias" in arrays
    encoder = LSTMEncoder(
        latent_dim,
        vocab_size=vocab_size,
        embedding_dim=embedding_dim,
        hidden_dim=hidden_dim,
        num_layers=num_layers,
        posterior_bias=bias,
    )
    encoder = encoder.double().eval()
    fill(encoder.embedding, weight=arrays[f"{prefix}embedding"])
    single = f"{prefix}lstm.input_weight" in arrays
    names = [f"{prefix}lstm"] if single else [f"{prefix}lstm.layer{layer + 1}" for layer in range(num_layers)]
    weights = {}
    for layer, name in enumerate(names):
        weights |= lstm_weights(arrays, name, layer)
    fill(encoder.lstm, **weights)
    fill_posterior(encoder.posterior, arrays, prefix)
    return encoder


def he_lstm_decoder(arrays: Arrays, prefix: str) -> LSTMDecoder:
    """The decoder or language model of He et al. (2019), which predicts padding and BOS, too."""
    vocab_size, embedding_dim = arrays[f"{prefix}embedding"].shape
    initial = f"{prefix}initial_cell.weight"
    decoder = LSTMDecoder(
        arrays[initial].shape[1] if initial in arrays else 0,
        vocab_size=vocab_size,
        embedding_dim=embedding_dim,
        hidden_dim=arrays[f"{prefix}output.weight"].shape[1],
        first_state="cell",
        output_bias=False,
    )
    decoder = decoder.double().eval()
    decoder.never.zero_()
    fill(decoder.embedding, weight=arrays[f"{prefix}embedding"])
    fill(decoder.layers[0], **lstm_weights(arrays, f"{prefix}lstm"))
    if decoder.initial is not None:
        fill_linear(decoder.initial, arrays, f"{prefix}initial_cell")
    fill_linear(decoder.output.hidden, arrays, f"{prefix}output")
    return decoder


def lstm_decoder(arrays: Arrays, prefix: str = "", masked: bool = False) -> LSTMDecoder:
    """With skips where the output sees z.

    Args:
        arrays: of a file.
        prefix: of the names of its parameters.
        masked: whether padding and BOS cannot be predicted, as in ours; the published softmax is over all symbols.
    """
    vocab_size, embedding_dim = arrays[f"{prefix}embedding"].shape
    num_layers = arrays.count(prefix + "layer{}.input_weight")
    initial = f"{prefix}initial_state.weight"
    decoder = LSTMDecoder(
        arrays[initial].shape[1] if initial in arrays else 0,
        vocab_size=vocab_size,
        embedding_dim=embedding_dim,
        hidden_dim=arrays[f"{prefix}output.hidden.weight"].shape[1],
        num_layers=num_layers,
        skip=f"{prefix}output.latent.weight" in arrays,
    )
    decoder = decoder.double().eval()
    if not masked:
        decoder.never.zero_()
    fill(decoder.embedding, weight=arrays[f"{prefix}embedding"])
    for number, layer in enumerate(decoder.layers, start=1):
        fill(layer, **lstm_weights(arrays, f"{prefix}layer{number}"))
    if decoder.initial is not None:
        fill_linear(decoder.initial, arrays, f"{prefix}initial_state")
    output = decoder.output
    fill(output.hidden, weight=arrays[f"{prefix}output.hidden.weight"], bias=arrays[f"{prefix}output.bias"])
    if output.latent is not None:
        fill_linear(output.latent, arrays, f"{prefix}output.latent")
    return decoder


# -- He et al. 2019 ---------------------------------------------------------------------------------------------------


def strided_resnet(arrays: Arrays) -> StridedResNetEncoder:
    numbers = range(1, arrays.count("block{}.convolution1.weight") + 1)
    channels = [len(arrays[f"block{number}.convolution1.weight"]) for number in numbers]
    num_features = len(arrays["head.convolution.weight"])
    encoder = StridedResNetEncoder(len(arrays["mean.weight"]), image_shape(arrays), channels, num_features)
    encoder = encoder.double().eval()
    for name, norm in strided_norms(encoder).items():
        fill_norm(norm, arrays, name)
    for number, block in zip(numbers, encoder.blocks, strict=True):
        fill_linear(block.convolution1, arrays, f"block{number}.convolution1")
        fill_linear(block.convolution2, arrays, f"block{number}.convolution2")
        fill_linear(block.shortcut, arrays, f"block{number}.shortcut.convolution")
    fill_linear(encoder.head, arrays, "head.convolution")
    fill_posterior(encoder.output, arrays)
    return encoder


def strided_norms(encoder: StridedResNetEncoder) -> dict[str, nn.Module]:
    """Our batch norms by their published names."""
    norms: dict[str, nn.Module] = {"head.norm": encoder.head_norm}
    for number, block in enumerate(encoder.blocks, start=1):
        norms |= {f"block{number}.norm1": block.norm1, f"block{number}.norm2": block.norm2}  # type: ignore[dict-item]
        norms[f"block{number}.shortcut.norm"] = block.shortcut_norm
    return norms


def residual_pixelcnn(arrays: Arrays) -> ResidualPixelCNNDecoder:
    _, height, width = image_shape(arrays)
    decoder = ResidualPixelCNNDecoder(
        arrays["z"].shape[1],
        image_shape(arrays),
        channels=len(arrays["first.masked.weight"]),
        kernel_sizes=arrays["kernel_sizes"].tolist(),
        latent_maps=len(arrays["latent_maps.bias"]) // (height * width),
    )
    decoder = decoder.double().eval()
    assert decoder.maps is not None
    fill_linear(decoder.maps.linear, arrays, "latent_maps")
    fill_linear(decoder.first, arrays, "first.masked")
    for name, block in bottlenecks(decoder).items():
        for part in ("reduce", "masked", "expand"):
            fill_linear(getattr(block, part), arrays, f"{name}.{part}")
    fill_linear(decoder.head, arrays, "head.convolution")
    fill_linear(decoder.output, arrays, "output")
    for name, norm in residual_norms(decoder).items():
        fill_norm(norm, arrays, name)
    return decoder


def bottlenecks(decoder: ResidualPixelCNNDecoder) -> dict[str, nn.Module]:
    """Our blocks and connections by their published names."""
    named = {f"block{n}": block for n, block in enumerate(decoder.blocks, start=2)}
    return named | {f"connection{n}": block for n, block in enumerate(decoder.connections, start=1)}


def residual_norms(decoder: ResidualPixelCNNDecoder) -> dict[str, nn.Module]:
    """Our batch norms by their published names."""
    norms: dict[str, nn.Module] = {"first.norm": decoder.first_norm, "head.norm": decoder.head_norm}
    for name, block in bottlenecks(decoder).items():
        norms |= {f"{name}.norm{i}": getattr(block, f"norm{i}") for i in (1, 2, 3)}
    return norms
