"""The networks of He et al. (2019)."""

import torch
from torch import Tensor

from skipvae.decoders import LSTMDecoder, ResidualPixelCNNDecoder
from skipvae.encoders import StridedResNetEncoder
from tests.parity.arrays import Arrays, each_file
from tests.parity.networks import (
    he_lstm_decoder,
    lstm_encoder,
    residual_norms,
    residual_pixelcnn,
    strided_norms,
    strided_resnet,
)


def log_prob(logits: Tensor, x: Tensor) -> Tensor:
    """The published one, which adds 1e-12 to each probability."""
    p = logits.sigmoid()
    return (x * (p + 1e-12).log() + (1 - x) * (1 - p + 1e-12).log()).flatten(1).sum(1)


@torch.no_grad()
@each_file("he2019_image_encoder*")
def test_image_encoder(name: str) -> None:
    arrays = Arrays(name)
    encoder = strided_resnet(arrays)
    for mode in ("eval", "train"):
        posterior = encoder.train(mode == "train")(arrays["x"])
        arrays.check(f"{mode}.mean", posterior.mean)
        arrays.check(f"{mode}.logvar", posterior.logvar)
    for norm, module in strided_norms(encoder).items():
        arrays.check(f"after_train.{norm}.running_mean", module.running_mean)  # type: ignore[arg-type]
        arrays.check(f"after_train.{norm}.running_variance", module.running_var)  # type: ignore[arg-type]


@torch.no_grad()
@each_file("he2019_image_decoder*")
def test_image_decoder(name: str) -> None:
    arrays = Arrays(name)
    decoder, x = residual_pixelcnn(arrays), arrays["x"]
    arrays.check("first.mask", decoder.first.mask)
    arrays.check("block2.mask", decoder.blocks[0].masked.mask)  # type: ignore[union-attr]
    images = decoder.sample(arrays["z"], generator=torch.Generator().manual_seed(1))
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    logits = decoder.logits(images, arrays["z"])  # one pass says what each pixel was drawn from
    assert torch.equal(images, (noise < logits.sigmoid()).double())
    for mode in ("eval", "train"):
        logits = decoder.train(mode == "train").logits(x, arrays["z"])
        arrays.check(f"{mode}.logits", logits)
        arrays.check(f"{mode}.log_prob", log_prob(logits, x))
    for norm, module in residual_norms(decoder).items():
        arrays.check(f"after_train.{norm}.running_mean", module.running_mean)  # type: ignore[arg-type]
        arrays.check(f"after_train.{norm}.running_variance", module.running_var)  # type: ignore[arg-type]


@torch.no_grad()
@each_file("he2019_text*")
def test_text(name: str) -> None:
    arrays = Arrays(name)
    encoder = lstm_encoder(arrays, "encoder.")
    for which in ("long", "short"):
        x = arrays[f"{which}.x"]
        posterior = encoder(x)
        arrays.check(f"{which}.encoder.mean", posterior.mean)
        arrays.check(f"{which}.encoder.logvar", posterior.logvar)
        for network in ("decoder", "language_model"):
            decoder = he_lstm_decoder(arrays, f"{network}.")
            z = arrays[f"{which}.z"] if decoder.latent_dim else None
            logits = decoder.output(decoder.hidden(x[:, :-1], z), z)
            log_probs = logits.log_softmax(-1).gather(-1, x[:, 1:, None]).squeeze(-1)
            arrays.check(f"{which}.{network}.token_log_prob", log_probs)
            arrays.check(f"{which}.{network}.log_prob", decoder.log_prob(x, z))


@each_file("image_receptive_fields*")
def test_receptive_field(name: str) -> None:
    arrays = Arrays(name)
    row, column = arrays["pixel"].tolist()
    height, width = arrays["he2019_v2_13blocks"].shape
    torch.manual_seed(0)
    decoder = ResidualPixelCNNDecoder(2, (1, height, width), channels=4).double().eval()
    x = torch.rand(1, 1, height, width).double().requires_grad_()
    decoder.logits(x, torch.randn(1, 2).double())[0, 0, row, column].backward()
    assert x.grad is not None
    arrays.check("he2019_v2_13blocks", x.grad[0, 0].ne(0).double())


def test_numbers_of_parameters() -> None:
    count = {
        type(module).__name__: sum(parameter.numel() for parameter in module.parameters())
        for module in (StridedResNetEncoder(32), ResidualPixelCNNDecoder(32))
    }
    assert count == {"StridedResNetEncoder": 752_448, "ResidualPixelCNNDecoder": 894_400}
    decoder = LSTMDecoder(32, vocab_size=20_001, first_state="cell", output_bias=False)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 37_185_024
