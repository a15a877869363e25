"""Image encoders and decoders of Dieng et al. (2019) and the baseline of Kim et al. (2018)."""

import pytest
import torch
from torch import Tensor

from skipvae.decoders import GatedPixelCNNDecoder, ImageDecoder
from skipvae.posteriors.diagonal_gaussian import DiagonalGaussian
from tests.parity.arrays import Arrays, clamped_log_prob, each_file
from tests.parity.networks import mlp_decoder, mlp_encoder, pixelcnn, resnet_encoder


def check_decoder(arrays: Arrays, decoder: ImageDecoder, prefix: str, z: Tensor | None) -> None:
    """Logits and log-likelihood of the images x."""
    x = arrays["x"]
    logits = decoder.logits(x, z)
    arrays.check(f"{prefix}logits", logits)
    arrays.check(f"{prefix}log_prob", clamped_log_prob(logits, x))
    if torch.sigmoid(logits).clamp(1e-5, 1 - 1e-5).equal(torch.sigmoid(logits)):  # the clamp, which ours lacks
        arrays.check(f"{prefix}log_prob", decoder.log_prob(x, z))


@torch.no_grad()
@each_file("image_mlp_*")
@pytest.mark.parametrize("skip", [False, True])
def test_mlp(name: str, skip: bool) -> None:
    arrays, prefix = Arrays(name), f"skip_{'on' if skip else 'off'}."
    posterior, decoder = mlp_encoder(arrays)(arrays["x"]), mlp_decoder(arrays, skip)
    arrays.check("posterior.mean", posterior.mean)
    arrays.check("posterior.logvar", posterior.logvar)
    z = posterior.rsample(arrays["noise"])
    arrays.check("posterior.sample", z)
    arrays.check("posterior.kl", posterior.kl().sum(-1))
    check_decoder(arrays, decoder, prefix, arrays["z"])
    check_decoder(arrays, decoder, f"{prefix}posterior.", z)
    check_decoder(arrays, decoder, f"{prefix}saturating.", arrays["saturating.z"])
    log_prob = clamped_log_prob(decoder.logits(None, z), arrays["x"])
    arrays.check(f"{prefix}elbo", log_prob - posterior.kl().sum(-1))


@torch.no_grad()
@each_file("image_resnet_*")
def test_resnet(name: str) -> None:
    arrays = Arrays(name)
    encoder = resnet_encoder(arrays)
    for mode in ("eval", "train"):
        posterior: DiagonalGaussian = encoder.train(mode == "train")(arrays["x"])
        arrays.check(f"{mode}.mean", posterior.mean)
        arrays.check(f"{mode}.logvar", posterior.logvar)
    for b in range(1, arrays.count("block{}.convolution1.weight") + 1):
        for i in (1, 2):
            norm, after = encoder.blocks[2 * b - 2].residual[3 * i - 2], f"after_train.block{b}.norm{i}"
            # Their running means hold what the bias of the convolution shifts, which ours has not.
            shift = arrays[f"block{b}.convolution{i}.bias"]
            arrays.check(f"{after}.running_mean", norm.running_mean + shift)
            arrays.check(f"{after}.running_variance", norm.running_var)


def receptive_field(decoder: GatedPixelCNNDecoder, pixel: tuple[int, int]) -> Tensor:
    """1 where the logit at a pixel depends on another one, (H, W)."""
    torch.manual_seed(0)
    x = torch.rand(1, *decoder.image_shape).double().requires_grad_()
    z = torch.randn(1, decoder.latent_dim).double() if decoder.latent_dim else None
    decoder.logits(x, z)[0, 0][pixel].backward()  # type: ignore[index]
    assert x.grad is not None
    return x.grad[0, 0].ne(0).double()


@each_file("image_pixelcnn_*")
def test_pixelcnn(name: str) -> None:
    arrays = Arrays(name)
    decoder, z = pixelcnn(arrays), arrays.get("z")
    with torch.no_grad():
        check_decoder(arrays, decoder, "", z)
    row, column = arrays["receptive_field.pixel"].tolist()
    arrays.check("receptive_field", receptive_field(decoder, (row, column)))


@torch.no_grad()
@each_file("image_pixelcnn_*")
def test_cached_sampling_of_the_pixelcnn_is_that_of_one_pass_for_each_pixel(name: str) -> None:
    arrays = Arrays(name)
    decoder, z = pixelcnn(arrays), arrays["z"][:2] if "z" in arrays else None
    batch = 2 if z is None else len(z)
    noise = torch.rand(batch, *decoder.image_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.zeros_like(noise)
    for i, j in torch.cartesian_prod(*map(torch.arange, decoder.image_shape[1:])).tolist():
        probability = decoder.logits(x, z)[:, :, i, j].sigmoid()
        x[:, :, i, j] = (noise[:, :, i, j] < probability).double()
    assert torch.equal(decoder.sample(z, num_samples=batch, generator=torch.Generator().manual_seed(1)), x)


FIELDS = {
    "skipvae_1layer_kernel3": {"num_layers": 1},
    "skipvae_2layers_kernel3": {"num_layers": 2},
    "skipvae_4layers_kernel3": {"num_layers": 4},
    "skipvae_8layers_kernel3_skip_off": {"num_layers": 8},
    "skipvae_8layers_kernel3_skip_on": {"num_layers": 8, "skip": True},
    "savae_12layers_kernels_9_7_5_3": {
        "num_layers": 12,
        "kernel_size": [9] * 3 + [7] * 3 + [5] * 3 + [3] * 3,
        "layer": "kim2018",
    },
}


@each_file("image_receptive_fields")
def test_receptive_fields(name: str) -> None:
    arrays = Arrays(name)
    row, column = arrays["pixel"].tolist()
    for key, settings in FIELDS.items():
        if key not in arrays:
            continue
        height, width = arrays[key].shape
        torch.manual_seed(0)
        settings = {"layer": "published", "channels": 4} | settings
        decoder = GatedPixelCNNDecoder(2, (1, height, width), **settings).double()
        with torch.no_grad():
            for parameter in decoder.parameters():
                parameter.normal_(0, 0.5)
        arrays.check(key, receptive_field(decoder, (row, column)))


def test_ours_sees_every_earlier_pixel_that_is_near() -> None:
    """The numbers of docs: eight layers see 162 of the 574 pixels before (20, 14), and none of them is hidden."""
    torch.manual_seed(0)
    decoder = GatedPixelCNNDecoder(2, channels=4).double()
    field = receptive_field(decoder, (20, 14))
    assert field.sum() == 162
