"""Every parameter of a new network is drawn from the published distribution, at the sizes of the papers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from skipvae.decoders import GatedPixelCNNDecoder, LSTMDecoder, MLPDecoder, ResidualPixelCNNDecoder
from skipvae.encoders import LSTMEncoder, MLPEncoder, ResNetEncoder, StridedResNetEncoder
from tests.parity.arrays import folder, read_json
from tests.parity.networks import bottlenecks, residual_norms, strided_norms

Roles = dict[str, Tensor]
"""Our parameters by the names of the published ones."""


def parts(role: str, module: nn.Module) -> Roles:
    return {f"{role}.{name}": value for name, value in module.named_parameters(recurse=False)}


def depth(shapes: dict[str, list[int]], pattern: str) -> int:
    """How many names of the form `pattern` there are."""
    number = 0
    while pattern.format(number + 1) in shapes:
        number += 1
    return number


def posterior(layer: nn.Linear) -> Roles:
    """Mean and log-variance, which are one linear map of ours."""
    found = Roles()
    for name, value in layer.named_parameters():
        found[f"mean.{name}"], found[f"logvar.{name}"] = value.chunk(2)
    return found


def lstm(role: str, module: nn.LSTM) -> Roles:
    names = {"weight_ih": "input_weight", "weight_hh": "recurrent_weight", "bias_ih": "input_bias"}
    names |= {"bias_hh": "recurrent_bias"}
    return {f"{role}.{theirs}": getattr(module, f"{ours}_l0") for ours, theirs in names.items()}


def mlp_encoder(shapes: dict[str, list[int]]) -> tuple[nn.Module, Roles]:
    latent_dim, hidden_dim = shapes["mean.weight"]
    encoder = MLPEncoder(latent_dim, hidden_dim=hidden_dim, num_layers=depth(shapes, "layer{}.weight"))
    found = posterior(encoder.layers[-1])
    for number, layer in enumerate(encoder.layers[:-1:2], start=1):
        found |= parts(f"layer{number}", layer)
    return encoder, found


def mlp_decoder(shapes: dict[str, list[int]]) -> tuple[nn.Module, Roles]:
    hidden_dim, latent_dim = shapes["input.weight"]
    num_layers = depth(shapes, "layer{}.hidden.weight")
    decoder = MLPDecoder(latent_dim, hidden_dim=hidden_dim, num_layers=num_layers, skip=True)
    found = parts("input", decoder.input) | parts("output", decoder.output.hidden)
    for number, layer in enumerate(decoder.hidden, start=1):
        found |= parts(f"layer{number}.hidden", layer.hidden)
        found |= parts(f"layer{number}.latent (skip only)", layer.latent)
    return decoder, found


def resnet_encoder(shapes: dict[str, list[int]]) -> tuple[nn.Module, Roles]:
    """Our convolutions before a norm have no bias."""
    num_blocks = depth(shapes, "block{}.convolution1.weight")
    channels = [shapes[f"block{number}.convolution1.weight"][0] for number in range(1, num_blocks + 1)]
    encoder = ResNetEncoder(shapes["mean.weight"][0], channels=channels)
    found = posterior(encoder.output)
    for number in range(1, len(encoder.blocks) // 2 + 1):
        block, role = encoder.blocks[2 * number - 2], f"block{number}"
        for i in (1, 2):
            found |= parts(f"{role}.convolution{i}", block.residual[3 * i - 3])
            norm = block.residual[3 * i - 2]
            found |= {f"{role}.norm{i}.scale": norm.weight, f"{role}.norm{i}.shift": norm.bias}
        found |= parts(f"{role}.projection", block.shortcut) | parts(
            f"{role}.downsample", encoder.blocks[2 * number - 1]
        )
    return encoder, found


def pixelcnn(skip: bool) -> Callable[[dict[str, list[int]]], tuple[nn.Module, Roles]]:
    def make(shapes: dict[str, list[int]]) -> tuple[nn.Module, Roles]:
        decoder = GatedPixelCNNDecoder(
            shapes["layer1.latent_map.weight"][1],
            channels=shapes["layer1.output.weight"][0],
            num_layers=depth(shapes, "layer{}.vertical.weight"),
            kernel_size=shapes["layer1.vertical.weight"][-1],
            skip=skip,
            layer="published",
        )
        found = parts("output", decoder.output)
        names = {"vertical": "vertical", "horizontal": "horizontal", "down": "vertical_to_horizontal"}
        for number, layer in enumerate(decoder.layers, start=1):
            for ours, theirs in {**names, "output": "output", "shortcut": "shortcut"}.items():
                if getattr(layer, ours) is not None:
                    found |= parts(f"layer{number}.{theirs}", getattr(layer, ours))
        assert decoder.maps is not None
        places = [f"layer{n}" for n in range(1, len(decoder.layers) + 1)] + ["output"] if skip else ["layer1"]
        for name, value in decoder.maps.linear.named_parameters():
            chunks = value.chunk(len(places))
            found |= {f"{place}.latent_map.{name}": chunk for place, chunk in zip(places, chunks, strict=True)}
        return decoder, found

    return make


def text_encoder(shapes: dict[str, list[int]]) -> tuple[nn.Module, Roles]:
    vocab_size, embedding_dim = shapes["embedding.weight"]
    latent_dim, hidden_dim = shapes["mean.weight"]
    encoder = LSTMEncoder(latent_dim, vocab_size=vocab_size, embedding_dim=embedding_dim, hidden_dim=hidden_dim)
    return encoder, parts("embedding", encoder.embedding) | lstm("lstm", encoder.lstm) | posterior(encoder.posterior)


def text_decoder(shapes: dict[str, list[int]]) -> tuple[nn.Module, Roles]:
    vocab_size, embedding_dim = shapes["embedding.weight"]
    hidden_dim, latent_dim = shapes["initial_state.weight"]
    sizes = {"vocab_size": vocab_size, "embedding_dim": embedding_dim, "hidden_dim": hidden_dim}
    decoder = LSTMDecoder(latent_dim, **sizes, skip=True)
    assert decoder.initial is not None
    assert decoder.output.latent is not None
    found = parts("embedding", decoder.embedding) | lstm("layer1", decoder.layers[0])  # type: ignore[arg-type]
    found |= parts("initial_state", decoder.initial)
    found["output.hidden.weight"], found["output.bias"] = decoder.output.hidden.weight, decoder.output.hidden.bias
    found["output.latent.weight (skip only)"] = decoder.output.latent.weight
    return decoder, found


def he_image_encoder(shapes: dict[str, list[int]]) -> tuple[nn.Module, Roles]:
    numbers = range(1, depth(shapes, "block{}.convolution1.weight") + 1)
    encoder = StridedResNetEncoder(
        shapes["mean_and_logvar.weight"][0] // 2,
        channels=[shapes[f"block{number}.convolution1.weight"][0] for number in numbers],
        num_features=shapes["head.convolution.weight"][0],
    )
    found = parts("mean_and_logvar", encoder.output) | parts("head.convolution", encoder.head)
    for number, block in enumerate(encoder.blocks, start=1):
        found |= parts(f"block{number}.convolution1", block.convolution1)
        found |= parts(f"block{number}.convolution2", block.convolution2)
        found |= parts(f"block{number}.shortcut.convolution", block.shortcut)
    return encoder, found | norms(strided_norms(encoder))


def he_image_decoder(shapes: dict[str, list[int]]) -> tuple[nn.Module, Roles]:
    sizes = [shapes["first.masked.weight"][-1]]
    while f"block{len(sizes) + 1}.masked.weight" in shapes:
        sizes.append(shapes[f"block{len(sizes) + 1}.masked.weight"][-1])
    channels, latent_maps = shapes["first.masked.weight"][0], shapes["first.masked.weight"][1] - 1
    latent_dim = shapes["latent_maps.weight"][1]
    decoder = ResidualPixelCNNDecoder(latent_dim, channels=channels, kernel_sizes=sizes, latent_maps=latent_maps)
    assert decoder.maps is not None
    found = parts("latent_maps", decoder.maps.linear) | parts("first.masked", decoder.first)
    found |= parts("head.convolution", decoder.head) | parts("output", decoder.output)
    for name, block in bottlenecks(decoder).items():
        for part in ("reduce", "masked", "expand"):
            found |= parts(f"{name}.{part}", getattr(block, part))
    return decoder, found | norms(residual_norms(decoder))


def norms(named: dict[str, nn.Module]) -> Roles:
    scales: Roles = {f"{name}.scale": norm.weight for name, norm in named.items()}
    shifts: Roles = {f"{name}.shift": norm.bias for name, norm in named.items()}
    return scales | shifts


HE_RANGES: dict[str, float] = {"init_range": 0.01, "embedding_range": 0.1}


def he_text_encoder(shapes: dict[str, list[int]]) -> tuple[nn.Module, Roles]:
    (vocab_size, embedding_dim), (outputs, hidden_dim) = shapes["embedding.weight"], shapes["mean_and_logvar.weight"]
    sizes = {"vocab_size": vocab_size, "embedding_dim": embedding_dim, "hidden_dim": hidden_dim}
    encoder = LSTMEncoder(outputs // 2, **sizes, **HE_RANGES, posterior_bias=False)
    found = parts("embedding", encoder.embedding) | lstm("lstm", encoder.lstm)
    return encoder, found | parts("mean_and_logvar", encoder.posterior)


def he_text_decoder(shapes: dict[str, list[int]]) -> tuple[nn.Module, Roles]:
    (vocab_size, embedding_dim), hidden_dim = shapes["embedding.weight"], shapes["output.weight"][1]
    latent_dim = shapes.get("initial_cell.weight", [0, 0])[1]
    sizes = {"vocab_size": vocab_size, "embedding_dim": embedding_dim, "hidden_dim": hidden_dim}
    decoder = LSTMDecoder(latent_dim, **sizes, **HE_RANGES, first_state="cell", output_bias=False)
    found = parts("embedding", decoder.embedding) | lstm("lstm", decoder.layers[0])  # type: ignore[arg-type]
    found |= parts("output", decoder.output.hidden)
    return decoder, found | (parts("initial_cell", decoder.initial) if decoder.initial is not None else {})


NETWORKS = {
    ("image_mlp", "encoder"): mlp_encoder,
    ("image_mlp", "decoder"): mlp_decoder,
    ("image_resnet", "encoder"): resnet_encoder,
    ("image_pixelcnn_skip_off", "decoder"): pixelcnn(skip=False),
    ("image_pixelcnn_skip_on", "decoder"): pixelcnn(skip=True),
    ("text", "encoder"): text_encoder,
    ("text", "decoder"): text_decoder,
    ("he2019_images", "encoder"): he_image_encoder,
    ("he2019_images", "decoder"): he_image_decoder,
    ("he2019_text", "encoder"): he_text_encoder,
    ("he2019_text", "decoder"): he_text_decoder,
    ("he2019_text", "language_model"): he_text_decoder,
}


def check_distribution(value: Tensor, published: dict[str, Any]) -> None:
    """Shape, mean and standard deviation within five standard errors, and the ends of a uniform distribution."""
    role, value, n = published["role"], value.detach().double(), value.numel()
    assert list(value.shape) == published["shape"], role
    mean, std = published["expected_mean"], published["expected_std"]
    assert abs(value.mean() - mean) <= 5 * std / n**0.5 + 1e-7, role
    if published["family"] == "constant":
        assert value.eq(published["value"]).all(), role
        return
    if n > 100:
        assert abs(value.std() / std - 1) < 5 / (2 * n) ** 0.5, role
    if published["family"] == "uniform":
        largest = max(-published["low"], published["high"])
        assert value.abs().max() <= largest * (1 + 1e-6), role
        assert n < 100 or value.abs().max() > largest * (1 - 10 / n), role
    elif n > 100:
        assert value.abs().max() > 2 * std, role


@pytest.mark.skipif(not (folder() / "initialisation.json").is_file(), reason="needs initialisation.json")
@pytest.mark.parametrize("network", NETWORKS, ids="-".join)
def test_every_parameter(network: tuple[str, str]) -> None:
    published, part = read_json("initialisation")["initialisation"][network[0]], network[1]
    listed = {entry["role"]: entry for entry in published[part]}
    torch.manual_seed(1)
    module, found = NETWORKS[network]({role: entry["shape"] for role, entry in listed.items()})
    assert sum(value.numel() for value in found.values()) == sum(p.numel() for p in module.parameters())
    missing = {role for role in listed if role not in found}
    if network[0] == "image_resnet":
        missing = {role for role in missing if ".convolution" not in role or not role.endswith("bias")}
    assert not missing
    assert not found.keys() - listed.keys()
    for role, value in found.items():
        check_distribution(value, listed[role])
    counts = published["num_parameters"]
    count = sum(value.numel() for value in found.values())
    count += sum(torch.Size(listed[role]["shape"]).numel() for role in listed if role not in found)
    assert count == counts.get(part, counts.get(f"{part}_used"))
